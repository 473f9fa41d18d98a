"""Three lists of rights are one: what the preflight asks for, what rbac.yaml grants, what the README tells."""

import re

import pytest

from activities.preflight_rights import Right, rights, rights_for_people
from replace_etcd.settings import Settings
from tests.rbac import BINDINGS, manifests, rights_of, roles
from tests.unit.test_contract import README, rows, section

USER_CLUSTER = "user-cluster-1"
SETTINGS = Settings()
PLACES = {
    "namespace of the user cluster": USER_CLUSTER,
    "`USER_CLUSTER-gke-onprem-mgmt`": USER_CLUSTER + SETTINGS.management_namespace_suffix,
    "`kube-node-lease`": "kube-node-lease",
    "namespace of `REPLACE_ETCD_STOP_CONFIG_MAP`": SETTINGS.stop_config_map.partition("/")[0],
    "cluster-wide": None,
    "cluster-wide, for `drain: node`": None,
}


def all_rights(*, whole_node: bool) -> list[Right]:
    return [*rights(SETTINGS, USER_CLUSTER, whole_node=whole_node), *rights_for_people(USER_CLUSTER)]


@pytest.mark.parametrize("whole_node", [True, False])
def test_what_is_granted_is_what_is_asked_for(whole_node: bool) -> None:
    granted = [right for role in roles(whole_node=whole_node) for right in rights_of(role)]
    assert len(granted) == len(set(granted)), "a right is granted twice"
    assert set(granted) == set(all_rights(whole_node=whole_node))


def test_without_a_drain_of_nodes_there_is_no_right_on_pods_elsewhere() -> None:
    granted = [right for role in roles(whole_node=False) for right in rights_of(role)]
    assert {right.namespace for right in granted if right.resource == "pods"} == {USER_CLUSTER}


def test_every_role_is_bound_to_the_one_service_account() -> None:
    bound = {
        (one["roleRef"]["kind"], one["roleRef"]["name"], one["metadata"].get("namespace"))
        for one in manifests()
        if one["kind"] in BINDINGS
        and one["subjects"]
        == [{"kind": "ServiceAccount", "name": "replace-etcd", "namespace": "replace-etcd"}]
    }
    assert bound == {
        (role["kind"], role["metadata"]["name"], role["metadata"].get("namespace")) for role in roles()
    }


def test_the_readme_tells_them() -> None:
    table = section(README, "Run it against your own admin cluster").partition("Rights of")[2]
    told: set[tuple[str | None, str, str, str]] = set()
    where = resource = ""
    for place, resources, verbs in rows(table):
        where = place or where
        for what, several in zip(resources.split("; "), verbs.split("; "), strict=True):
            plural, name = re.fullmatch(r"([a-z/]*) ?(?:`(.*)`)?", what).groups()  # type: ignore[union-attr]
            resource = plural or resource
            named = (name or "").replace("USER_CLUSTER", USER_CLUSTER)
            told |= {(PLACES[where], resource, named, verb) for verb in re.split(r", | and ", several)}
    assert told == {_told(right) for right in all_rights(whole_node=True)}


def _told(right: Right) -> tuple[str | None, str, str, str]:
    resource = f"{right.resource}/{right.subresource}" if right.subresource else right.resource
    return right.namespace, resource, right.name, right.verb
