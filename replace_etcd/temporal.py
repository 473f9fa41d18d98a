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
from temporalio.client import Client
from temporalio.common import SearchAttributeIndexedValueType
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError, RPCStatusCode

from replace_etcd import search_attributes
from replace_etcd.models.record import Record
from replace_etcd.runs import Chain

ANSWER_WITHIN = timedelta(seconds=10)
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
