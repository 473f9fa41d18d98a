"""The rules that an object must keep, as far as this operation can break one of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from lab.control_plane.simulated.errors import invalid
from lab.control_plane.simulated.resources import Resource
from lab.control_plane.simulated.selectors import matches_selector

Json = dict[str, Any]
Problem = tuple[str, str, str]

NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
NAME_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    f"'{NAME.pattern}')"
)
FREE_NAMES = ("roles", "rolebindings", "clusterroles", "clusterrolebindings")  # `system:node` is a name there
STATEFUL_SET_MUTABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)
STATEFUL_SET_RULE = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)
POD_RULE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def validate_new(resource: Resource, obj: Json) -> None:
    """Refuse a new object that breaks a rule: 422, with every problem named."""
    name = obj["metadata"].get("name", "")
    problems = [*_name(resource, name), *_rules(resource, obj)]
    if problems:
        raise invalid(resource, name, problems)


def validate_change(resource: Resource, obj: Json, old: Json) -> None:
    """Refuse a change that breaks a rule, or that touches what cannot change."""
    problems = [*_rules(resource, obj), *_frozen(resource, obj, old)]
    if problems:
        raise invalid(resource, obj["metadata"]["name"], problems)


def _name(resource: Resource, name: str) -> Iterator[Problem]:
    if not name:
        yield "metadata.name", "FieldValueRequired", "Required value: name or generateName is required"
    elif resource.plural not in FREE_NAMES and not (NAME.fullmatch(name) and len(name) <= 253):
        yield "metadata.name", "FieldValueInvalid", f'Invalid value: "{name}": {NAME_RULE}'


def _rules(resource: Resource, obj: Json) -> Iterator[Problem]:
    rules: dict[str, Callable[[Json], Iterator[Problem]]] = {
        "pods": lambda pod: _pod_spec(pod["spec"], "spec"),
        "poddisruptionbudgets.policy": _budget,
        "statefulsets.apps": _stateful_set,
    }
    if rule := rules.get(resource.qualified):
        yield from rule(obj)


def _pod_spec(spec: Json, path: str) -> Iterator[Problem]:
    if not spec.get("containers"):
        yield f"{path}.containers", "FieldValueRequired", "Required value"
    volumes = {volume.get("name") for volume in spec.get("volumes", ())}
    for index, container in enumerate(spec.get("containers") or ()):
        where = f"{path}.containers[{index}]"
        for field in ("name", "image"):
            if not container.get(field):
                yield f"{where}.{field}", "FieldValueRequired", "Required value"
        for number, mount in enumerate(container.get("volumeMounts", ())):
            if mount.get("name") not in volumes:
                text = f'Not found: "{mount.get("name")}"'
                yield f"{where}.volumeMounts[{number}].name", "FieldValueNotFound", text


def _budget(obj: Json) -> Iterator[Problem]:
    spec = obj.get("spec") or {}
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        text = "Invalid value: minAvailable and maxUnavailable cannot be both set"
        yield "spec", "FieldValueInvalid", text


def _stateful_set(obj: Json) -> Iterator[Problem]:
    spec = obj["spec"]
    labels = spec["template"]["metadata"].get("labels") or {}
    strategy = spec["updateStrategy"]
    if strategy["type"] not in ("RollingUpdate", "OnDelete"):
        text = "Invalid value: must be 'RollingUpdate' or 'OnDelete'"
        yield "spec.updateStrategy", "FieldValueInvalid", text
    elif strategy["type"] == "OnDelete" and strategy.get("rollingUpdate") is not None:
        shown = str(strategy["rollingUpdate"]).replace("'", '"').replace(" ", "")
        text = f"Invalid value: {shown}: only allowed for updateStrategy 'RollingUpdate'"
        yield "spec.updateStrategy.rollingUpdate", "FieldValueInvalid", text
    if spec["replicas"] < 0:
        text = f"Invalid value: {spec['replicas']}: must be greater than or equal to 0"
        yield "spec.replicas", "FieldValueInvalid", text
    if not spec.get("selector"):
        text = "Required value"
        yield "spec.selector", "FieldValueRequired", text
    elif not matches_selector(spec["selector"], labels):
        text = "Invalid value: `selector` does not match template `labels`"
        yield "spec.template.metadata.labels", "FieldValueInvalid", text


def _frozen(resource: Resource, obj: Json, old: Json) -> Iterator[Problem]:
    if resource.qualified == "statefulsets.apps":
        frozen = [spec_without(found["spec"], *STATEFUL_SET_MUTABLE) for found in (obj, old)]
        if frozen[0] != frozen[1]:
            yield "spec", "FieldValueForbidden", f"Forbidden: {STATEFUL_SET_RULE}"
    if resource.qualified == "pods" and _fixed_part(obj["spec"]) != _fixed_part(old["spec"]):
        yield "spec", "FieldValueForbidden", f"Forbidden: {POD_RULE}\n"


def spec_without(spec: Json, *fields: str) -> Json:
    """Return a spec less some of its fields."""
    return {key: value for key, value in spec.items() if key not in fields}


def _fixed_part(spec: Json) -> Json:
    fixed = spec_without(spec, "activeDeadlineSeconds", "tolerations")
    for field in ("containers", "initContainers"):
        fixed[field] = [spec_without(container, "image") for container in spec.get(field, ())]
    return fixed
