"""Who owns flag and strategy; the entries are as a real API server 1.34 writes them."""

from typing import Any

import pytest

from replace_etcd.cluster import Object
from replace_etcd.field_owners import owners

ARGS = "/spec/template/spec/containers/0/args/3"
ENV = "/spec/template/spec/containers/0/env/1/value"
STRATEGY = "/spec/updateStrategy"
CONTAINER: dict[str, Any] = {
    "name": "kube-etcd",
    "args": ["a", "b", "c", "--initial-cluster-state=new"],
    "env": [{"name": "A", "value": "1"}, {"name": "ETCD_INITIAL_CLUSTER_STATE", "value": "new"}],
}


def of(fields: Object, **entry: str) -> Object:
    """A StatefulSet with one manager."""
    managed = {"manager": "argocd", "operation": "Apply", "time": "2026-01-01T00:00:00Z", "fieldsV1": fields}
    template = {"spec": {"containers": [CONTAINER]}}
    return {
        "metadata": {"managedFields": [{**managed, **entry}]},
        "spec": {"template": template, "updateStrategy": {"type": "RollingUpdate"}},
    }


def in_container(fields: Object) -> Object:
    key = 'k:{"name":"kube-etcd"}'
    return {"f:spec": {"f:template": {"f:spec": {"f:containers": {key: fields}}}}}


@pytest.mark.parametrize(
    ("fields", "owned"),
    [
        ({"f:spec": {"f:updateStrategy": {"f:type": {}}}}, [STRATEGY]),
        (in_container({"f:args": {}}), [ARGS]),
        (
            in_container({"f:env": {'k:{"name":"ETCD_INITIAL_CLUSTER_STATE"}': {".": {}, "f:value": {}}}}),
            [ENV],
        ),
        (in_container({"f:env": {'k:{"name":"A"}': {"f:value": {}}}}), []),
        (in_container({"f:image": {}}), []),
        ({"f:spec": {"f:replicas": {}}}, []),
        ({}, []),
    ],
)
def test_a_manager_owns_what_its_entry_names(fields: Object, owned: list[str]) -> None:
    found = owners(of(fields), [ARGS, ENV, STRATEGY])
    assert [owner.fields for owner in found] == ([owned] if owned else [])
    assert {owner.operation for owner in found} <= {"Apply"}


def test_the_status_is_nobody_s_business() -> None:
    strategy: Object = {"f:spec": {"f:updateStrategy": {}}}
    assert owners(of(strategy, subresource="status"), [STRATEGY]) == []


def test_an_object_without_managers() -> None:
    assert owners({"metadata": {}, "spec": {"updateStrategy": {}}}, [STRATEGY]) == []
