"""The kinds of objects that the API knows, as one table; a CustomResourceDefinition adds to it at run time.

Discovery, routing, tables and the generic storage all read this table, so that a kind is added by one line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

SCALABLE = ("deployments", "replicasets", "statefulsets")
ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Resource:
    """One kind of object: its names, its scope, and which of the common behaviours it has."""

    group: str
    version: str
    kind: str
    plural: str
    short: tuple[str, ...] = ()
    namespaced: bool = True
    status: bool = False
    """Whether status is a subresource of its own, and untouched by writes to the object."""
    generation: bool = False
    """Whether changes of the spec are counted in metadata.generation."""
    categories: tuple[str, ...] = ()
    subresources: tuple[tuple[str, str, str], ...] = ()
    """Further subresources for discovery: name, kind, verbs."""
    verbs: tuple[str, ...] = ALL_VERBS
    custom: bool = field(default=False, compare=False)

    @property
    def api_version(self) -> str:
        """The apiVersion that objects carry."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """The name in messages: `pods`, `statefulsets.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def singular(self) -> str:
        """The lower-case kind, as kubectl prints it."""
        return self.kind.lower()

    @property
    def key(self) -> tuple[str, str]:
        """What identifies it in the store: one version of a kind is served."""
        return self.group, self.plural


def _core(kind: str, plural: str, *short: str, **options: Any) -> Resource:
    return Resource("", "v1", kind, plural, short, **options)


def _apps(kind: str, plural: str, short: str) -> Resource:
    scale = (("scale", "Scale", "get patch update"),) if plural in SCALABLE else ()
    options: dict[str, Any] = {"status": True, "generation": True, "categories": ("all",)}
    return Resource("apps", "v1", kind, plural, (short,), subresources=scale, **options)


def _rbac(kind: str, *, namespaced: bool) -> Resource:
    return Resource("rbac.authorization.k8s.io", "v1", kind, f"{kind.lower()}s", namespaced=namespaced)


POD_SUBRESOURCES = (
    ("binding", "Binding", "create"),
    ("eviction", "Eviction", "create"),
    ("exec", "PodExecOptions", "create get"),
    ("log", "Pod", "get"),
)

TABLE = (
    _core("ConfigMap", "configmaps", "cm"),
    _core("Event", "events", "ev"),
    _core("Namespace", "namespaces", "ns", namespaced=False, status=True),
    _core("Node", "nodes", "no", namespaced=False, status=True),
    _core("PersistentVolumeClaim", "persistentvolumeclaims", "pvc", status=True),
    _core("PersistentVolume", "persistentvolumes", "pv", namespaced=False, status=True),
    _core(
        "Pod",
        "pods",
        "po",
        status=True,
        generation=True,
        categories=("all",),
        subresources=POD_SUBRESOURCES,
    ),
    _core("Secret", "secrets"),
    _core("ServiceAccount", "serviceaccounts", "sa"),
    _core("Service", "services", "svc", status=True, categories=("all",)),
    _core("Endpoints", "endpoints", "ep"),
    Resource("apps", "v1", "ControllerRevision", "controllerrevisions"),
    _apps("DaemonSet", "daemonsets", "ds"),
    _apps("Deployment", "deployments", "deploy"),
    _apps("ReplicaSet", "replicasets", "rs"),
    _apps("StatefulSet", "statefulsets", "sts"),
    Resource(
        "policy",
        "v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        ("pdb",),
        status=True,
        generation=True,
    ),
    Resource("coordination.k8s.io", "v1", "Lease", "leases"),
    Resource("storage.k8s.io", "v1", "StorageClass", "storageclasses", ("sc",), namespaced=False),
    _rbac("Role", namespaced=True),
    _rbac("RoleBinding", namespaced=True),
    _rbac("ClusterRole", namespaced=False),
    _rbac("ClusterRoleBinding", namespaced=False),
    Resource(
        "authorization.k8s.io",
        "v1",
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
        namespaced=False,
        verbs=("create",),
    ),
    Resource(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        ("crd", "crds"),
        namespaced=False,
        status=True,
        generation=True,
    ),
)


class Catalogue:
    """The table, looked up by path, and extended by CustomResourceDefinitions."""

    def __init__(self) -> None:
        self._resources: dict[tuple[str, str, str], Resource] = {}
        for resource in TABLE:
            self.add(resource)

    def __iter__(self) -> Iterator[Resource]:
        return iter(tuple(self._resources.values()))

    def add(self, resource: Resource) -> None:
        """Serve a kind from now on."""
        self._resources[resource.group, resource.version, resource.plural] = resource

    def remove(self, resource: Resource) -> None:
        """Serve a kind no more."""
        self._resources.pop((resource.group, resource.version, resource.plural), None)

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """Look a kind up by the parts of its path."""
        return self._resources.get((group, version, plural))

    def by_plural(self, plural: str, group: str = "") -> Resource:
        """Look up a kind that is known to exist."""
        return next(found for found in self if (found.group, found.plural) == (group, plural))

    def by_kind(self, api_version: str, kind: str) -> Resource | None:
        """Look a kind up as owner references name it."""
        return next((found for found in self if (found.api_version, found.kind) == (api_version, kind)), None)

    def groups(self) -> dict[str, list[Resource]]:
        """All kinds by `group/version`."""
        result: dict[str, list[Resource]] = {}
        for resource in self:
            result.setdefault(resource.api_version, []).append(resource)
        return result


def custom_resource(definition: Json) -> Resource | None:
    """Make an entry of the table from a CustomResourceDefinition: its storage version only."""
    spec = definition["spec"]
    version = next((found for found in spec["versions"] if found.get("storage")), None)
    if version is None:
        return None
    names = spec["names"]
    return Resource(
        spec["group"],
        version["name"],
        names["kind"],
        names["plural"],
        tuple(names.get("shortNames", ())),
        namespaced=spec["scope"] == "Namespaced",
        status="status" in version.get("subresources", {}),
        generation=True,
        custom=True,
    )
