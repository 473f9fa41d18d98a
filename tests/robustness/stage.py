"""What a story needs of the place where it is played: the model's room, or a lab with real etcd."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy

from lab.judge import Sighting
from replace_etcd.models.restoring import RestoreResult
from replace_etcd.models.result import ReplacementResult
from tests.robustness.judge import Look
from tests.robustness.proxy import Proxy

Handle = WorkflowHandle[Any, ReplacementResult]


class Patient(Protocol):
    """A user cluster under traffic, one of whose members has failed."""

    @property
    def namespace(self) -> str:
        """Where it is."""

    @property
    def removed(self) -> Sequence[str]:
        """The id of every member that was ever removed."""

    @property
    def sightings(self) -> Sequence[Sighting]:
        """The pods as they came and went."""

    async def look(self) -> Look:
        """Everything that a replacement touches, as it is now."""

    async def writes(self) -> tuple[frozenset[str], dict[str, frozenset[str]]]:
        """What was acknowledged, and what each member has that answers, asked of it alone."""

    async def takes_writes(self) -> bool:
        """Whether a write that comes now is acknowledged."""

    async def keep_from_rejoining(self) -> None:
        """Let the failed replica never join again."""

    async def let_rejoin(self) -> None:
        """Let it join, if it was kept from it."""


class Stage(Protocol):
    """Where replacements run, with the wire between the worker and the API server."""

    @property
    def proxy(self) -> Proxy:
        """The wire."""

    @property
    def temporal(self) -> Client:
        """The server that runs them."""

    async def user_cluster(self, pod_management: str, *, alarm: bool = False, dead: bool = False) -> Patient:
        """A user cluster with a failed member, which has raised an alarm, or whose node is dead, if wished."""

    def give_back(self, patient: Patient, pod_management: str) -> None:
        """Nothing is left of what was done to it: it may serve again."""

    async def retire(self, patient: Patient) -> None:
        """Nobody asks for it any more."""


async def start(
    stage: Stage, workflow: str, prefix: str, namespace: str, queue: str, **fields: Any
) -> WorkflowHandle[Any, Any]:
    """Start a workflow for a user cluster, under the id that keeps a second one out; one that runs is taken."""
    return await stage.temporal.start_workflow(
        workflow,
        {"user_cluster": namespace, **fields},
        id=f"{prefix}.{namespace}",
        task_queue=queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        result_type=ReplacementResult if workflow == "ReplaceEtcdReplica" else RestoreResult,
    )
