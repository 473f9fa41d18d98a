"""Preflight: every right that a step uses, asked by name before anything changes; the only list of them.

A right that turns out to be missing in the middle is a step that fails, perhaps after the removal. What
`deploy/kubernetes/rbac.yaml` grants, and what the README tells, is held to this list by a test.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from activities.dead_node import NODE_LEASES
from activities.preflight_checks import Looks
from activities.side_by_side import side_by_side
from activities.step import Toolbox
from replace_etcd.models.request import DrainMode
from replace_etcd.settings import Settings


@dataclass(frozen=True)
class Right:
    """One verb on one resource: in a namespace or (None) everywhere, on one object or (no name) on all."""

    verb: str
    group: str
    resource: str
    subresource: str = ""
    namespace: str | None = None
    name: str = ""

    def __str__(self) -> str:
        what = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        where = f"namespace {self.namespace}" if self.namespace else "cluster-wide"
        return f"{self.verb} {what}{' ' + self.name if self.name else ''} ({where})"


GRANT = "grant the worker's identity these verbs: deploy/kubernetes/rbac.yaml has them all"


async def look_at_rights(looks: Looks) -> None:
    """Ask for each right by a SelfSubjectAccessReview, and name every one that is missing."""
    wanted = rights(looks.tools.settings, looks.namespace, whole_node=looks.request.drain is DrainMode.NODE)
    missing = await missing_rights(looks.tools, wanted)
    looks.findings.judge("permissions", not missing, evidence_of(missing, len(wanted)), GRANT)
    if missing := await missing_rights(looks.tools, rights_for_people(looks.namespace)):
        looks.findings.warn(
            "permissions, for people", evidence_of(missing, 1), "no Events are written without it"
        )


async def missing_rights(tools: Toolbox, wanted: list[Right]) -> list[str]:
    """Those that this identity has not, as people name them."""
    answers = await side_by_side(
        *(
            tools.cluster.permitted(
                right.verb,
                right.group,
                right.resource,
                right.namespace,
                subresource=right.subresource,
                name=right.name,
            )
            for right in wanted
        )
    )
    return [str(right) for right, allowed in zip(wanted, answers, strict=True) if not allowed]


def evidence_of(missing: list[str], asked: int) -> str:
    """What the questions have shown."""
    return f"missing: {', '.join(missing)}" if missing else f"all {asked} are held"


def rights(settings: Settings, user_cluster: str, *, whole_node: bool) -> list[Right]:
    """Each right that a replacement in this user cluster uses; those of a whole node's drain only if asked for."""
    return [
        *_in_namespace(settings, user_cluster),
        *_of_the_owner(settings, user_cluster),
        *_elsewhere(settings),
        *_cluster_wide(),
        *(_for_the_drain() if whole_node else ()),
    ]


def rights_for_people(user_cluster: str) -> list[Right]:
    """Events tell people how far it is; a replacement goes on without them."""
    return [Right("create", "", "events", namespace=user_cluster)]


def rights_for_any(settings: Settings) -> list[Right]:
    """Those that are needed whichever user cluster it is."""
    return [*_elsewhere(settings), *_cluster_wide(), *_for_the_drain()]


def _in_namespace(settings: Settings, space: str) -> Iterable[Right]:
    """A creation has no name yet; pods are the failed one, the survivors and the utility Pod."""
    for verb in ("get", "list", "watch", "create", "delete"):
        yield Right(verb, "", "pods", namespace=space)
    yield Right("create", "", "pods", "eviction", space)
    for verb in ("get", "create"):  # an exec by WebSocket is a get, and from Kubernetes 1.35 on a create, too
        yield Right(verb, "", "pods", "exec", space)
    for verb in ("get", "list", "watch", "patch"):
        yield Right(verb, "apps", "statefulsets", namespace=space, name=settings.stateful_set)
    yield Right("create", "policy", "poddisruptionbudgets", namespace=space)
    for verb in ("get", "patch", "delete"):
        yield Right(verb, "policy", "poddisruptionbudgets", namespace=space, name=settings.pdb)
    yield Right("create", "", "configmaps", namespace=space)
    for verb in ("get", "update", "delete"):
        yield Right(verb, "", "configmaps", namespace=space, name=settings.record)
    yield Right("get", "", "persistentvolumeclaims", namespace=space)


def _of_the_owner(settings: Settings, user_cluster: str) -> Iterable[Right]:
    management = user_cluster + settings.management_namespace_suffix
    group, owners = "onprem.cluster.gke.io", "onpremuserclusters"
    yield Right("get", group, owners, namespace=management, name=user_cluster)


def _elsewhere(settings: Settings) -> Iterable[Right]:
    yield Right("get", "coordination.k8s.io", "leases", namespace=NODE_LEASES)
    namespace, _, name = settings.stop_config_map.partition("/")
    yield Right("get", "", "configmaps", namespace=namespace, name=name)


def _cluster_wide() -> Iterable[Right]:
    for verb in ("get", "list", "watch", "patch"):
        yield Right(verb, "", "nodes")
    yield Right("get", "", "persistentvolumes")


def _for_the_drain() -> Iterable[Right]:
    for verb in ("list", "watch"):
        yield Right(verb, "", "pods")
    yield Right("create", "", "pods", "eviction")
