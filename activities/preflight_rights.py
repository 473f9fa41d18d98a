"""Preflight: every right that a step uses, asked by name before anything changes; the only list of them.

A right that turns out to be missing in the middle is a step that fails, perhaps after the removal.
"""

import asyncio

from activities.dead_node import NODE_LEASES
from activities.preflight_checks import Looks
from activities.step import Toolbox
from replace_etcd.models.request import DrainMode
from replace_etcd.settings import Settings

Right = tuple[str, str, str, str]  # verb, group, resource, subresource

IN_NAMESPACE: list[Right] = [
    *((verb, "", "pods", "") for verb in ("get", "list", "watch", "create", "delete")),
    *(("create", "", "pods", "eviction"), ("get", "", "pods", "exec"), ("create", "", "pods", "exec")),
    *((verb, "policy", "poddisruptionbudgets", "") for verb in ("get", "create", "patch", "delete")),
    *((verb, "apps", "statefulsets", "") for verb in ("get", "list", "watch", "patch")),
    *((verb, "", "configmaps", "") for verb in ("get", "create", "update", "delete")),
    *(("get", "", "persistentvolumeclaims", ""), ("list", "", "secrets", "")),
]
CLUSTER_WIDE: list[Right] = [
    *((verb, "", "nodes", "") for verb in ("get", "list", "patch")),
    ("get", "", "persistentvolumes", ""),
]
FOR_THE_DRAIN: list[Right] = [
    *((verb, "", "pods", "") for verb in ("get", "list", "watch")),
    ("create", "", "pods", "eviction"),
]
OF_THE_USER_CLUSTER: list[Right] = [("get", "onprem.cluster.gke.io", "onpremuserclusters", "")]
OF_THE_NODE: list[Right] = [("get", "coordination.k8s.io", "leases", "")]
OF_THE_STOP: list[Right] = [("get", "", "configmaps", "")]
GRANT = "grant the worker's identity these verbs"


async def look_at_rights(looks: Looks) -> None:
    """Ask for each right by a SelfSubjectAccessReview, and name every one that is missing."""
    wanted = rights(looks.tools.settings, looks.namespace, whole_node=looks.request.drain is DrainMode.NODE)
    missing = await missing_rights(looks.tools, wanted)
    looks.findings.judge("permissions", not missing, evidence_of(missing, len(wanted)), GRANT)


async def missing_rights(tools: Toolbox, wanted: list[tuple[Right, str | None]]) -> list[str]:
    """Those that this identity has not, as people name them."""
    answers = await asyncio.gather(
        *(
            tools.cluster.permitted(verb, group, resource, namespace, subresource)
            for (verb, group, resource, subresource), namespace in wanted
        )
    )
    return [_named(*asked) for asked, allowed in zip(wanted, answers, strict=True) if not allowed]


def evidence_of(missing: list[str], asked: int) -> str:
    """What the questions have shown."""
    return f"missing: {', '.join(missing)}" if missing else f"all {asked} are held"


def rights(settings: Settings, user_cluster: str, *, whole_node: bool) -> list[tuple[Right, str | None]]:
    """Each right with the namespace in which it is needed, None for the whole cluster."""
    places: list[tuple[list[Right], str | None]] = [
        (IN_NAMESPACE, user_cluster),
        (OF_THE_USER_CLUSTER, user_cluster + settings.management_namespace_suffix),
        (OF_THE_NODE, NODE_LEASES),
        (OF_THE_STOP, settings.stop_config_map.partition("/")[0]),
        (CLUSTER_WIDE, None),
        (FOR_THE_DRAIN if whole_node else [], None),
    ]
    return [(right, namespace) for several, namespace in places for right in several]


def _named(right: Right, namespace: str | None) -> str:
    verb, _, resource, subresource = right
    what = f"{resource}/{subresource}" if subresource else resource
    return f"{verb} {what} ({'namespace ' + namespace if namespace else 'cluster-wide'})"
