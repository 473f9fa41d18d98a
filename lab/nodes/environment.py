"""A container's command, arguments, variables and files in /etc, as a kubelet derives them from the pod.

The downward API's three fields that etcd needs, `$(VAR)` in command and arguments (unknown ones are left alone,
`$$(VAR)` is an escape), the hosts file and the resolver's search list.
"""

from __future__ import annotations

import re

from lab.nodes.records import Json, PodRecord

TOOLS = "/opt/etcd/bin"
PATH = f"{TOOLS}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CLUSTER_DOMAIN = "cluster.local"
_REFERENCE = re.compile(r"\$(\$|\(([-._a-zA-Z][-._a-zA-Z0-9]*)\))")


def expand(text: str, variables: dict[str, str]) -> str:
    """Replace `$(VAR)` by its value where it is known, and `$$` by `$`."""

    def value(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return variables.get(match[2], match[0])

    return _REFERENCE.sub(value, text)


def environment(pod: Json, container: Json, record: PodRecord) -> dict[str, str]:
    """The container's variables; each may refer to those before it."""
    variables = {"PATH": PATH, "HOME": "/root", "HOSTNAME": record.hostname}
    for entry in container.get("env", []):
        reference = entry.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
        text = _field(pod, record, reference) if reference else expand(entry.get("value", ""), variables)
        variables[entry["name"]] = text
    return variables


def _field(pod: Json, record: PodRecord, path: str) -> str:
    fields = {
        "metadata.name": record.name,
        "metadata.namespace": record.namespace,
        "metadata.uid": record.uid,
        "spec.nodeName": pod["spec"].get("nodeName", ""),
        "status.podIP": record.address,
    }
    return str(fields[path])


def command(container: Json, variables: dict[str, str]) -> list[str]:
    """The words to execute: command and args; an image's own entry point does not exist here."""
    words = [*container.get("command", []), *container.get("args", [])]
    return [expand(word, variables) for word in words]


def settings(record: PodRecord, name_server: str) -> dict[str, str]:
    """The files of /etc that a container gets from its node."""
    own_name = f"{record.hostname}.{record.subdomain}.{record.namespace}.svc.{CLUSTER_DOMAIN}\t"
    hosts = f"{record.address}\t{own_name if record.subdomain else ''}{record.hostname}\n"
    search = " ".join(f"{prefix}{CLUSTER_DOMAIN}" for prefix in (f"{record.namespace}.svc.", "svc.", ""))
    return {
        "/etc/hosts": f"127.0.0.1\tlocalhost\n::1\tlocalhost\n{hosts}",
        "/etc/hostname": f"{record.hostname}\n",
        "/etc/resolv.conf": f"search {search}\nnameserver {name_server}\noptions ndots:5 timeout:1\n",
        "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
        "/etc/group": "root:x:0:\nnogroup:x:65534:\n",
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    }
