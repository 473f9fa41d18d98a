"""Temporal, from the outside: connect as the `temporal` CLI does, see to the search attributes, ask about runs."""

from datetime import timedelta
from typing import Any

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    GetClusterInfoRequest,
)
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleHandle,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.common import SearchAttributeIndexedValueType
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.envconfig import ClientConfig
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from replace_etcd import search_attributes
from replace_etcd.models.record import Record
from replace_etcd.models.restoring import ID_PREFIX, WORKFLOW_TYPE, RestoreResult
from replace_etcd.models.result import Outcome
from replace_etcd.runs import Chain, UntoldEnd

SCHEDULE = "restore-interrupted-replacements"
NO_CATCH_UP = timedelta(seconds=10)  # the least that the server takes
ANSWER_WITHIN = timedelta(seconds=10)
FROM_OUTSIDE = (
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TERMINATED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TIMED_OUT,
)
ENDED = (
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_FAILED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CANCELED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TERMINATED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TIMED_OUT,
)


class NotReady(Exception):
    """Temporal cannot be used as it is; the text is one sentence with the way out."""


async def connect() -> Client:
    """Connect by `TEMPORAL_*` and the config file of the `temporal` CLI."""
    config: dict[str, Any] = dict(ClientConfig.load_client_connect_config())
    address = config.setdefault("target_host", "localhost:7233")
    try:
        return await Client.connect(**config, data_converter=pydantic_data_converter)
    except RuntimeError as error:
        raise NotReady(f"Temporal does not answer at {address} ({error}); set TEMPORAL_ADDRESS") from error


async def cluster_id(client: Client) -> str:
    """The identity of the Temporal cluster: a workflow id can exist on two of them."""
    info = await client.workflow_service.get_cluster_info(GetClusterInfoRequest())
    return info.cluster_id


async def register_search_attributes(client: Client) -> None:
    """Register what is missing; an attribute that is not registered hangs a workflow's first task."""
    operator = client.operator_service
    try:
        known = await operator.list_search_attributes(ListSearchAttributesRequest(namespace=client.namespace))
        missing = [key.name for key in search_attributes.ALL if key.name not in known.custom_attributes]
        if missing:
            keyword = SearchAttributeIndexedValueType.KEYWORD.value
            wanted = dict.fromkeys(missing, keyword)
            await operator.add_search_attributes(
                AddSearchAttributesRequest(namespace=client.namespace, search_attributes=wanted)  # type: ignore[arg-type]
            )
    except RPCError as error:
        if error.status is RPCStatusCode.ALREADY_EXISTS:
            return
        names = " ".join(f"--name {key.name} --type Keyword" for key in search_attributes.ALL)
        raise NotReady(
            f"the search attributes cannot be registered ({error.message}); let an operator run: "
            f"temporal operator search-attribute create --namespace {client.namespace} {names}"
        ) from error


async def see_to_schedule(client: Client, task_queue: str, every: float) -> str | None:
    """Let the Schedule of the janitor be as the settings say; returns what is wrong, with the way out.

    Safe with two workers at once: one of them creates it, the other finds it and writes the same. A pause of
    somebody's is kept; with `every` 0 there is none.
    """
    handle = client.get_schedule_handle(SCHEDULE)
    try:
        if every:
            try:
                await client.create_schedule(SCHEDULE, _schedule(task_queue, every))
            except ScheduleAlreadyRunningError:
                return await _update(handle, task_queue, every)
        elif await _queue_of(handle) == task_queue:
            await handle.delete()
    except RPCError as error:
        if not every and error.status is RPCStatusCode.NOT_FOUND:
            return None
        return f"the Schedule {SCHEDULE} cannot be written ({error.message}); let this identity, or an operator, do it"
    return None


async def _update(handle: ScheduleHandle, task_queue: str, every: float) -> str | None:
    """One that starts the janitor of another admin cluster is left: its records would not be seen to any more."""
    other = await _queue_of(handle)
    if other != task_queue:
        return (
            f"the Schedule {SCHEDULE} starts on the task queue {other}: give each admin cluster a namespace of "
            f"Temporal of its own, or delete it if nobody polls that queue any more"
        )

    def changed(found: ScheduleUpdateInput) -> ScheduleUpdate:
        schedule = _schedule(task_queue, every)
        schedule.state = found.description.schedule.state
        return ScheduleUpdate(schedule)

    await handle.update(changed)
    return None


async def _queue_of(handle: ScheduleHandle) -> str | None:
    action = (await handle.describe()).schedule.action
    return action.task_queue if isinstance(action, ScheduleActionStartWorkflow) else None


def _schedule(task_queue: str, every: float) -> Schedule:
    """What the janitor missed while nothing ran it need not be caught up with: a sweep looks at everything."""
    return Schedule(
        action=ScheduleActionStartWorkflow(
            WORKFLOW_TYPE, id=SCHEDULE, task_queue=task_queue, static_summary="look at every record"
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(seconds=every))]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=NO_CATCH_UP),
    )


class TemporalRuns:
    """The runs of one Temporal cluster, in whichever of its namespaces: implements `ReplacementRuns`.

    A reset gives a run a new id and keeps the id of the first one, so the newest run tells of the whole chain.
    """

    def __init__(self, client: Client, cluster_id: str) -> None:
        self._client = client
        self._cluster_id = cluster_id

    async def state_of(self, record: Record) -> Chain:
        """How the chain stands; every answer that is not a description of its newest run is `UNKNOWN`."""
        if record.temporal_cluster_id != self._cluster_id:
            return Chain.UNKNOWN
        try:
            newest = await self._describe(record, run_id="")
            if newest.first_run_id == record.first_run_id:
                return Chain.CLOSED if newest.status in ENDED else Chain.RUNNING
            if newest.status not in ENDED:
                return Chain.SUCCEEDED_BY
            return await self._of_an_older_chain(record)
        except RPCError:
            return Chain.UNKNOWN

    async def cancel(self, workflow_id: str, run_id: str) -> None:
        """Ask for a cancel of a run of our own namespace; a second one changes nothing, nor one that comes late."""
        try:
            await self._client.get_workflow_handle(workflow_id, run_id=run_id).cancel()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise

    async def is_newest(self, workflow_id: str, run_id: str) -> bool | None:
        """Whether a run of our own namespace is the newest of its id."""
        try:
            described = await self._client.get_workflow_handle(workflow_id).describe(
                rpc_timeout=ANSWER_WITHIN
            )
        except RPCError:
            return None
        return described.run_id == run_id

    async def untold_end(self, workflow_id: str, run_id: str) -> UntoldEnd | None:
        """Of a run of our own namespace: terminated, timed out, or failed by an input that its worker refuses."""
        handle = self._client.get_workflow_handle(workflow_id, run_id=run_id)
        try:
            status = await _status(handle)
            if status in FROM_OUTSIDE:
                return UntoldEnd(Outcome.INTERRUPTED, "ended from outside; no record of it is left")
            if status == WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_FAILED:
                await handle.result(rpc_timeout=ANSWER_WITHIN)
        except RPCError:
            return None
        except WorkflowFailureError as failure:
            if isinstance(failure.cause, ApplicationError) and failure.cause.type == "InvalidInput":
                return UntoldEnd(Outcome.REFUSED, f"no worker takes its input: {failure.cause.message}")
        return None

    async def is_restored(self, user_cluster: str, run_id: str) -> bool:
        """By the newest restoration of the user cluster, whose id keeps a second one out."""
        handle = self._client.get_workflow_handle(f"{ID_PREFIX}{user_cluster}", result_type=RestoreResult)
        try:
            status = await _status(handle)
            if status != WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED:
                return status == WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING
            restored = await handle.result(rpc_timeout=ANSWER_WITHIN)
        except RPCError as error:
            return error.status is not RPCStatusCode.NOT_FOUND
        return any(record.run_id == run_id and record.outcome for record in restored.records)

    async def _of_an_older_chain(self, record: Record) -> Chain:
        """Nothing of this id runs; but only Temporal's word on the run itself counts, not its absence."""
        own = await self._describe(record, run_id=record.run_id)
        same = own.first_run_id == record.first_run_id
        return Chain.CLOSED if same and own.status in ENDED else Chain.UNKNOWN

    async def _describe(self, record: Record, run_id: str) -> WorkflowExecutionInfo:
        request = DescribeWorkflowExecutionRequest(
            namespace=record.temporal_namespace,
            execution=WorkflowExecution(workflow_id=record.workflow_id, run_id=run_id),
        )
        service = self._client.workflow_service
        answer = await service.describe_workflow_execution(request, timeout=ANSWER_WITHIN)
        return answer.workflow_execution_info


async def _status(run: WorkflowHandle[Any, Any]) -> int:
    described = await run.describe(rpc_timeout=ANSWER_WITHIN)
    return described.raw_description.workflow_execution_info.status
