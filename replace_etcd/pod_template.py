"""Finding `--initial-cluster-state` and the data directory in a pod template; pure.

The flag is found in `args` or `command`, as one token or two, inside a shell string, or as the variable
`ETCD_INITIAL_CLUSTER_STATE` (https://etcd.io/docs/v3.5/op-guide/configuration/): a flag wins over a variable.
"""

import copy
import hashlib
import json
import posixpath
import re
from typing import Any

from replace_etcd.cluster import Object
from replace_etcd.models.plan import FlagPlace

FLAG = "--initial-cluster-state"
VARIABLE = "ETCD_INITIAL_CLUSTER_STATE"
_IN_TEXT = re.compile(r"(?P<head>--?initial-cluster-state(?:=|\s+)[\"']?)(?P<value>new|existing)\b")
_STATES = ("new", "existing")


class NotFound(ValueError):
    """Something that the replacement needs is not in the pod template; the text says what, and the way out."""


def container_index(pod_spec: Object, name: str) -> int:
    """The place of the container in the pod."""
    names = [container["name"] for container in pod_spec["containers"]]
    if name not in names:
        raise NotFound(
            f"no container {name!r} in the pod template, only {', '.join(names)}; set REPLACE_ETCD_CONTAINER"
        )
    return names.index(name)


def find_flag(template_spec: Object, container: str) -> FlagPlace:
    """Where the flag stands, as a JSON pointer below the StatefulSet, with its text now and with `existing`."""
    index = container_index(template_spec, container)
    part = template_spec["containers"][index]
    base = f"/spec/template/spec/containers/{index}"
    places = [*_in_tokens(part, base), *_in_environment(part, base)]
    if not places:
        raise NotFound(f"{FLAG} is neither in args, command nor {VARIABLE} of container {container}")
    flags = [place for place in places if "/env/" not in place.pointer] or places
    if len(flags) > 1:
        raise NotFound(
            f"{FLAG} stands in {len(flags)} places of container {container}: {[f.pointer for f in flags]}"
        )
    return flags[0]


def _in_tokens(container: Object, base: str) -> list[FlagPlace]:
    found = []
    for field in ("command", "args"):
        tokens: list[str] = container.get(field) or []
        for position, token in enumerate(tokens):
            pointer = f"{base}/{field}/{position}"
            after = tokens[position + 1] if position + 1 < len(tokens) else ""
            if token.lstrip("-") == FLAG.lstrip("-") and token.startswith("-") and after in _STATES:
                found.append(
                    FlagPlace(pointer=f"{base}/{field}/{position + 1}", original=after, existing="existing")
                )
            elif _IN_TEXT.search(token):
                existing = _IN_TEXT.sub(lambda match: match["head"] + "existing", token)
                found.append(FlagPlace(pointer=pointer, original=token, existing=existing))
    return found


def _in_environment(container: Object, base: str) -> list[FlagPlace]:
    return [
        FlagPlace(pointer=f"{base}/env/{position}/value", original=variable["value"], existing="existing")
        for position, variable in enumerate(container.get("env") or [])
        if variable["name"] == VARIABLE and variable.get("value") in _STATES
    ]


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


def flag_text_in(pod: Object, flag: FlagPlace) -> str:
    """The text at the flag's place in a pod; empty where there is none."""
    return str(read_pointer(pod, in_pod(flag)) or "")


def expand(text: str, pod: str, namespace: str) -> str:
    """`$(POD_NAME)` and its kin as a kubelet replaces them, by the names that manifests usually give them.

    https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
    """
    for name, value in {"POD_NAME": pod, "HOSTNAME": pod, "NAME": pod, "POD_NAMESPACE": namespace}.items():
        text = text.replace(f"$({name})", value).replace(f"${{{name}}}", value)
    return text


def arguments(container: Object) -> list[str]:
    """The command line of a container."""
    return [*(container.get("command") or []), *(container.get("args") or [])]


def option(container: Object, name: str) -> str | None:
    """The value of an etcd option on the command line or in its variable."""
    tokens = " ".join(arguments(container)).split()
    for position, token in enumerate(tokens):
        key, _, value = token.lstrip("-").partition("=")
        if token.startswith("-") and key == name:
            return value or (tokens[position + 1] if position + 1 < len(tokens) else None)
    variable = "ETCD_" + name.upper().replace("-", "_")
    return next((v.get("value") for v in container.get("env") or [] if v["name"] == variable), None)


def data_path(pod: Object, container_name: str, claim: str) -> str:
    """The data directory as a path below the root of the claim's volume, `.` for the root itself.

    Raises `NotFound` where it is not on the claim, or where a separate `--wal-dir` is outside of it: a wipe
    must never leave the volume of the failed member.
    """
    spec = pod["spec"]
    container = spec["containers"][container_index(spec, container_name)]
    directory = option(container, "data-dir")
    if directory is None or not directory.startswith("/"):
        raise NotFound(f"--data-dir of container {container_name} is {directory!r}, not an absolute path")
    volumes = {
        v["name"] for v in spec["volumes"] if v.get("persistentVolumeClaim", {}).get("claimName") == claim
    }
    mounts = [mount for mount in container.get("volumeMounts") or [] if mount["name"] in volumes]
    wal = option(container, "wal-dir")
    for mount in mounts:
        below = posixpath.relpath(posixpath.normpath(directory), mount["mountPath"])
        if below.startswith(".."):
            continue
        if wal and posixpath.relpath(posixpath.normpath(wal), posixpath.normpath(directory)).startswith(".."):
            raise NotFound(f"--wal-dir {wal} is outside of the data directory {directory}")
        return posixpath.normpath(posixpath.join(mount.get("subPath", "."), below))
    raise NotFound(f"--data-dir {directory} is on no mount of the claim {claim}")


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
