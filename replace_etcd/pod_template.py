"""Finding `--initial-cluster-state` and the data directory in a pod template; pure.

The flag is found in `args` or `command`, as one token or two, inside a shell string, as the variable
`ETCD_INITIAL_CLUSTER_STATE`, or as a variable that the command line names. A flag wins over a variable, and a
`--config-file` over both (https://etcd.io/docs/v3.5/op-guide/configuration/). What is not one clear place is refused:
an edit that etcd does not see would let the new member start with `new`.
"""

import copy
import hashlib
import json
import posixpath
import re
from collections.abc import Iterator
from typing import Any

from replace_etcd.cluster import Object
from replace_etcd.models.plan import FlagPlace

FLAG = "--initial-cluster-state"
VARIABLE = "ETCD_INITIAL_CLUSTER_STATE"
_STATES = ("new", "existing")
_MENTION = re.compile(r"(?<![\w-])--?initial-cluster-state(?![\w-])")
_LITERAL = re.compile(r"(?P<head>--?initial-cluster-state(?:=|\s+)[\"']?)(?P<value>new|existing)(?![\w-])")
_BY_NAME = re.compile(r"--?initial-cluster-state(?:=|\s+)[\"']?\$[({]?(?P<name>\w+)")
_REFERENCE = re.compile(r"\$(?:\((\w+)\)|\{(\w+)\}|(\w+))")


class NotFound(ValueError):
    """Something that the replacement needs is not in the pod template; the text says what, and the way out."""


def container_index(pod_spec: Object, name: str) -> int:
    """The place of the container in the pod."""
    names = [container["name"] for container in pod_spec["containers"]]
    if name not in names:
        raise NotFound(f"no container {name!r} in the pod template, only {', '.join(names)}")
    return names.index(name)


def etcd_container(pod_spec: Object, wished: str) -> str:
    """The container of the wished name, or else the only one that says how etcd starts."""
    names = [container["name"] for container in pod_spec["containers"]]
    if wished in names:
        return wished
    said = [container["name"] for container in pod_spec["containers"] if _says_how_it_starts(container)]
    if len(said) != 1:
        raise NotFound(
            f"no container {wished!r} in the pod template, only {', '.join(names)},"
            f" of which {', '.join(said) or 'none'} has {FLAG}"
        )
    return str(said[0])


def _says_how_it_starts(container: Object) -> bool:
    named = any(variable["name"] == VARIABLE for variable in container.get("env") or [])
    return named or any(_mentions(token) for token in arguments(container))


def find_flag(template_spec: Object, container: str) -> FlagPlace:
    """Where the flag stands, as a JSON pointer below the StatefulSet, with its text now and with `existing`."""
    index = container_index(template_spec, container)
    part = template_spec["containers"][index]
    if file := option(part, "config-file"):
        raise NotFound(f"--config-file {file} of container {container} has etcd ignore flags and variables")
    base = f"/spec/template/spec/containers/{index}"
    places = list(_on_the_command_line(part, base)) or _in_variable(part, base, VARIABLE)
    if not places:
        raise NotFound(
            f"{FLAG} is neither in args, command nor {VARIABLE} of container {container}{_hidden(part)}"
        )
    if len(places) > 1:
        found = [place.pointer for place in places]
        raise NotFound(f"{FLAG} stands in {len(places)} places of container {container}: {found}")
    return places[0]


def _on_the_command_line(container: Object, base: str) -> Iterator[FlagPlace]:
    for field in ("command", "args"):
        tokens: list[str] = container.get(field) or []
        for position, token in enumerate(tokens):
            for mention in _mentions(token):
                after = tokens[position + 1] if position + 1 < len(tokens) else ""
                if mention.end() == len(token) and after in _STATES:
                    pointer = f"{base}/{field}/{position + 1}"
                    yield FlagPlace(pointer=pointer, original=after, existing="existing")
                elif literal := _LITERAL.match(token, mention.start()):
                    existing = (
                        token[: literal.start()] + literal["head"] + "existing" + token[literal.end() :]
                    )
                    yield FlagPlace(pointer=f"{base}/{field}/{position}", original=token, existing=existing)
                else:
                    text = token[mention.start() :] if mention.end() < len(token) else f"{token} {after}"
                    yield from _by_name(container, base, text)


def _mentions(token: str) -> list[re.Match[str]]:
    """Each place of the flag in a token, but those in a comment of a shell script."""
    return [
        mention
        for mention in _MENTION.finditer(token)
        if not re.search(r"(^|\s)#", token[token.rfind("\n", 0, mention.start()) + 1 : mention.start()])
    ]


def _by_name(container: Object, base: str, text: str) -> list[FlagPlace]:
    """The variable that the command line names as the flag's value."""
    said = text.split("\n", maxsplit=1)[0][:80]
    named = _BY_NAME.match(text)
    places = _in_variable(container, base, named["name"]) if named else []
    if not places:
        raise NotFound(f"the value of {FLAG} in {said!r} is neither new nor existing{_hidden(container)}")
    return places


def _in_variable(container: Object, base: str, name: str) -> list[FlagPlace]:
    return [
        FlagPlace(pointer=f"{base}/env/{position}/value", original=variable["value"], existing="existing")
        for position, variable in enumerate(container.get("env") or [])
        if variable["name"] == name and variable.get("value") in _STATES
    ]


def _hidden(container: Object) -> str:
    """Variables that come from elsewhere, where an edit of the template does not reach them."""
    elsewhere = [
        v["name"] for v in container.get("env") or [] if "configMapKeyRef" in (v.get("valueFrom") or {})
    ]
    elsewhere += [
        (source.get("configMapRef") or source.get("secretRef") or {}).get("name", "a source")
        for source in container.get("envFrom") or []
    ]
    return f"; not looked into: {', '.join(elsewhere)}" if elsewhere else ""


def read_pointer(document: Any, pointer: str) -> Any:
    """The value at a JSON pointer; None where the path is not there."""
    for part in pointer.strip("/").split("/"):
        try:
            document = document[int(part)] if isinstance(document, list) else document[part]
        except (KeyError, IndexError, ValueError):
            return None
    return document


def in_pod(flag: FlagPlace) -> str:
    """The same place in a pod: a pod has no template around its spec."""
    return flag.pointer.removeprefix("/spec/template")


def template_digest(stateful_set: Object, flag: FlagPlace) -> str:
    """What stays the same of a pod template while only the flag is edited."""
    if read_pointer(stateful_set, flag.pointer) is None:
        return "the flag has moved"
    template: Object = copy.deepcopy({"spec": {"template": stateful_set["spec"]["template"]}})
    *path, last = flag.pointer.strip("/").split("/")
    parent = read_pointer(template, "/".join(path))
    parent[int(last) if isinstance(parent, list) else last] = flag.existing
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:16]


def flag_text_in(pod: Object, container: str) -> str:
    """The text of the flag in a pod; empty where there is none."""
    try:
        return find_flag(pod["spec"], container).original
    except (NotFound, KeyError):
        return ""


def expand(text: str, container: Object, pod: str, namespace: str) -> str:
    """`$(POD_NAME)` and its kin, as a kubelet or a shell replaces them; what is not known stays as it is.

    https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
    """
    known = {"HOSTNAME": pod, "hostname": pod}
    fields = {"metadata.name": pod, "metadata.namespace": namespace}

    def value(match: re.Match[str]) -> str:
        return known.get(match[1] or match[2] or match[3], match[0])

    for variable in container.get("env") or []:
        field = ((variable.get("valueFrom") or {}).get("fieldRef") or {}).get("fieldPath")
        if field in fields:
            known[variable["name"]] = fields[field]
        elif "value" in variable:
            known[variable["name"]] = _REFERENCE.sub(value, variable["value"])
    return _REFERENCE.sub(value, text)


def arguments(container: Object) -> list[str]:
    """The command line of a container."""
    return [*(container.get("command") or []), *(container.get("args") or [])]


def option(container: Object, name: str) -> str | None:
    """The value of an etcd option on the command line or in its variable."""
    tokens = " ".join(arguments(container)).split()
    for position, token in enumerate(tokens):
        key, _, value = token.lstrip("-").partition("=")
        if token.startswith("-") and key == name:
            after = tokens[position + 1] if position + 1 < len(tokens) else None
            return value.strip("\"'") or (after and after.strip("\"'"))
    variable = "ETCD_" + name.upper().replace("-", "_")
    return next((v.get("value") for v in container.get("env") or [] if v["name"] == variable), None)


def data_path(pod: Object, container_name: str, claim: str) -> str:
    """The data directory as a path below the root of the claim's volume, `.` for the root itself.

    Raises `NotFound` where it is not on the claim, or where a separate `--wal-dir` is outside of it: a wipe
    must never leave the volume of the failed member.
    """
    spec = pod["spec"]
    container = spec["containers"][container_index(spec, container_name)]
    directory = _directory(pod, container, option(container, "data-dir"), "--data-dir")
    wal = option(container, "wal-dir")
    if wal and _outside(_directory(pod, container, wal, "--wal-dir"), directory):
        raise NotFound(f"--wal-dir {wal} is outside of the data directory {directory}")
    volumes = {
        v["name"] for v in spec["volumes"] if v.get("persistentVolumeClaim", {}).get("claimName") == claim
    }
    mounts = [mount for mount in container.get("volumeMounts") or [] if mount["name"] in volumes]
    for mount in mounts:
        if not _outside(directory, mount["mountPath"]):
            below = posixpath.relpath(directory, mount["mountPath"])
            return posixpath.normpath(posixpath.join(_sub_path(pod, container, mount), below))
    raise NotFound(f"--data-dir {directory} is on no mount of the claim {claim}")


def _directory(pod: Object, container: Object, said: str | None, name: str) -> str:
    """A directory as the pod has it; one that is not told for certain is refused: it is going to be wiped."""
    found = _in_this_pod(pod, container, said or "")
    if not found.startswith("/") or "$" in found:
        raise NotFound(f"{name} of container {container['name']} is {said!r}, not an absolute path")
    return posixpath.normpath(found)


def _sub_path(pod: Object, container: Object, mount: Object) -> str:
    said = mount.get("subPathExpr") or mount.get("subPath") or "."
    found = _in_this_pod(pod, container, said) if "subPathExpr" in mount else str(said)
    if "$" in found:
        raise NotFound(f"subPathExpr {said!r} of the mount {mount['mountPath']} cannot be told")
    return found


def _in_this_pod(pod: Object, container: Object, text: str) -> str:
    metadata = pod.get("metadata") or {}
    return expand(text, container, metadata.get("name", ""), metadata.get("namespace", ""))


def _outside(path: str, directory: str) -> bool:
    return posixpath.relpath(path, posixpath.normpath(directory)).startswith("..")


def uses_claim(pod: Object, claim: str) -> bool:
    """Whether the pod mounts the claim."""
    volumes = pod["spec"].get("volumes") or []
    return any(volume.get("persistentVolumeClaim", {}).get("claimName") == claim for volume in volumes)


def is_ready(pod: Object | None) -> bool:
    """Whether the pod's Ready condition is true and nobody has deleted it."""
    if pod is None or pod["metadata"].get("deletionTimestamp"):
        return False
    conditions = pod.get("status", {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
