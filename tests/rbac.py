"""`deploy/kubernetes/rbac.yaml`, read as the rights that it grants, and taken apart rule by rule."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from activities.preflight_rights import Right

Json = dict[str, Any]

FILE = Path(__file__).parents[1] / "deploy" / "kubernetes" / "rbac.yaml"
DRAINS_NODES = ("replace-etcd/drain", "node")
RULES = ("Role", "ClusterRole")
BINDINGS = ("RoleBinding", "ClusterRoleBinding")


def manifests(*, whole_node: bool = True) -> list[Json]:
    """The objects of the file, or of its variant for `drain: replica`."""
    every: list[Json] = list(yaml.safe_load_all(FILE.read_text()))
    return [one for one in every if whole_node or DRAINS_NODES not in _labels(one).items()]


def _labels(manifest: Json) -> dict[str, str]:
    labels: dict[str, str] = manifest["metadata"].get("labels") or {}
    return labels


def rights_of(role: Json) -> Iterator[Right]:
    """Each right of a role by itself."""
    for rule in role["rules"]:
        for right, _ in _apart(rule, role["metadata"].get("namespace")):
            yield right


def without(role: Json, right: Right) -> Json:
    """The role without one of its rights; each other one is as it was."""
    namespace = role["metadata"].get("namespace")
    kept = [rule for whole in role["rules"] for one, rule in _apart(whole, namespace) if one != right]
    return deepcopy(role) | {"rules": kept}


def _apart(rule: Json, namespace: str | None) -> Iterator[tuple[Right, Json]]:
    for group in rule["apiGroups"]:
        for resource in rule["resources"]:
            for name in rule.get("resourceNames", [""]):
                for verb in rule["verbs"]:
                    plural, _, subresource = resource.partition("/")
                    alone = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
                    names = {"resourceNames": [name]} if name else {}
                    yield Right(verb, group, plural, subresource, namespace, name), alone | names


def roles(*, whole_node: bool = True) -> list[Json]:
    """Every Role and ClusterRole."""
    return [one for one in manifests(whole_node=whole_node) if one["kind"] in RULES]
