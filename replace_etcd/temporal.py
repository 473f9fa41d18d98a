"""Temporal, from the outside: connect as the `temporal` CLI does, and see to the search attributes."""

from typing import Any

from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import GetClusterInfoRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeIndexedValueType
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError, RPCStatusCode

from replace_etcd import search_attributes


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
