"""The admin cluster as the activities see it: a Protocol, so that no activity reaches a Kubernetes client.

Objects are plain JSON (`dict`), exactly as the API server sent them: a typed client drops the fields of
releases that it does not know, and a PodDisruptionBudget must come back with every field that it had.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

FIELD_MANAGER = "replace-etcd"  # under which the API server notes our changes in metadata.managedFields
Object = dict[str, Any]
Patch = list[dict[str, Any]]
Condition = Callable[[Object | None], bool]
Sink = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True)
class Kind:
    """A resource of the API: its group and version, its plural, its name."""

    api_version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """The API group, empty for the core group."""
        return self.api_version.rpartition("/")[0]

    def path(
        self, namespace: str | None = None, name: str | None = None, subresource: str | None = None
    ) -> str:
        """The path of the collection, an object of it, or its subresource."""
        root = "/api" if "/" not in self.api_version else "/apis"
        parts = [root, self.api_version]
        if namespace is not None and self.namespaced:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part is not None]
        return "/".join(parts)


POD = Kind("v1", "pods", "Pod")
NODE = Kind("v1", "nodes", "Node", namespaced=False)
NAMESPACE = Kind("v1", "namespaces", "Namespace", namespaced=False)
SECRET = Kind("v1", "secrets", "Secret")
CONFIG_MAP = Kind("v1", "configmaps", "ConfigMap")
CLAIM = Kind("v1", "persistentvolumeclaims", "PersistentVolumeClaim")
VOLUME = Kind("v1", "persistentvolumes", "PersistentVolume", namespaced=False)
STATEFUL_SET = Kind("apps/v1", "statefulsets", "StatefulSet")
DAEMON_SET = Kind("apps/v1", "daemonsets", "DaemonSet")
PDB = Kind("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget")
EVENT = Kind("v1", "events", "Event")
LEASE = Kind("coordination.k8s.io/v1", "leases", "Lease")
USER_CLUSTER = Kind("onprem.cluster.gke.io/v1alpha1", "onpremuserclusters", "OnPremUserCluster")


@dataclass(frozen=True)
class Eviction:
    """The API server's answer to an eviction: admitted, or why not."""

    admitted: bool
    gone: bool = False
    status: int = 201
    reason: str = ""


@dataclass(frozen=True)
class CommandResult:
    """A command that ended: its output and its exit code."""

    stdout: str
    stderr: str
    exit_code: int


class AdminCluster(Protocol):
    """Everything that the activities ask of the admin cluster.

    Errors: `ClusterError` and its subclasses for a refusal, `Unreachable` where no answer came.
    """

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object | None:
        """Read one object; None where there is none (404)."""

    async def find(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        fields: str | None = None,
        labels: str | None = None,
    ) -> list[Object]:
        """Read a collection."""

    async def create(
        self, kind: Kind, manifest: Object, namespace: str | None = None, *, dry_run: bool = False
    ) -> Object:
        """Create an object, or let admission say whether it could be; `Conflict` where the name is taken."""

    async def replace(self, kind: Kind, manifest: Object) -> Object:
        """Write a whole object; its resourceVersion makes this a compare-and-swap."""

    async def patch(self, kind: Kind, name: str, namespace: str | None, operations: Patch) -> Object:
        """Apply a JSON patch; `Invalid` where a `test` in it fails."""

    async def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str | None,
        *,
        uid: str,
        version: str | None = None,
        grace: int | None = None,
    ) -> None:
        """Delete the object with this uid: gone is no error, another uid under the name is `Conflict`."""

    async def evict(
        self, namespace: str, pod: str, *, uid: str, grace: int | None = None, dry_run: bool = False
    ) -> Eviction:
        """Ask for an eviction of the pod with this uid."""

    async def wait_for(
        self, kind: Kind, name: str, namespace: str | None, condition: Condition, *, seconds: float
    ) -> Object | None:
        """Watch one object (None once it is gone) until the condition holds; `NotYet` at the limit."""

    async def execute(
        self, namespace: str, pod: str, container: str, command: list[str], *, seconds: float
    ) -> CommandResult:
        """Run a command in a container.

        `NotStarted` where it was refused at the handshake, `OutcomeUnknown` where its end was not seen.
        """

    async def stream(
        self,
        namespace: str,
        pod: str,
        container: str,
        command: list[str],
        sink: Sink,
        *,
        seconds: float,
        silence: float,
    ) -> CommandResult:
        """Run a command as `execute` does, and hand its output to the sink, chunk by chunk, as it comes.

        No more than a chunk is held here, and the next is not read before the sink has taken the last; the result's
        own `stdout` is empty. `OutcomeUnknown` also where nothing came for `silence` seconds. What the sink has seen
        is whole only where this returns: an error of the sink ends it, as it is.
        """

    async def permitted(
        self,
        verb: str,
        group: str,
        resource: str,
        namespace: str | None,
        *,
        subresource: str = "",
        name: str = "",
    ) -> bool:
        """Ask by SelfSubjectAccessReview whether this identity may; without a name, on every object."""

    async def version(self) -> str:
        """The API server's version."""
