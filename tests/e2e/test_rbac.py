"""Replacements as exactly the identity of `deploy/kubernetes/rbac.yaml`, on a real API server that keeps an audit log.

Nothing is refused to it, and each right is used; without any one of them the preflight names it and changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from temporalio.client import Client, WorkflowFailureError
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import ActivityEnvironment

from activities.preflight import PreflightActivities
from activities.preflight_rights import Right, rights, rights_for_people
from activities.step import Toolbox
from lab.client import LabClient
from lab.fixture.names import OTHER_NAMESPACE
from lab.kube_client import KubeClient
from lab.options import LabOptions
from lab.runner import running_lab
from lab.temporal_server import running_temporal
from replace_etcd.cluster import CONFIG_MAP
from replace_etcd.kubernetes_cluster import connect
from replace_etcd.models.plan import Check, Plan, Verdict
from replace_etcd.models.request import ReplacementRequest
from replace_etcd.models.result import Outcome
from replace_etcd.settings import Settings
from tests.attacks.meddling import annotate, into_the_drain, let_it_drain, nothing_left
from tests.e2e.conftest import NAMESPACE, REAL, WITHIN, Scene, replaced, worker_of
from tests.e2e.looking import IDENTITY, NoRuns
from tests.lab.kubectl import Kubectl
from tests.lab.nodes.waiting import until
from tests.rbac import DRAINS_NODES, FILE, rights_of, roles, without

pytestmark = [pytest.mark.timeout(600), pytest.mark.needs("namespaces", "kubectl")]

ACCOUNT = "replace-etcd"
USER = f"system:serviceaccount:{ACCOUNT}:{ACCOUNT}"
READS = ("get", "list", "watch")
EXEC_FROM_1_35 = Right("create", "", "pods", "exec", NAMESPACE)
"""Kubernetes asks for it beside `get` from 1.35 on, and for an exec that does not come by WebSocket."""
ONLY_REPLICA = f"{DRAINS_NODES[0]}!={DRAINS_NODES[1]}"
KUBERNETES = pytest.mark.parametrize("kubernetes", [REAL])
Json = dict[str, Any]


class Identity:
    """The worker's service account in a lab, and what the API server has noted of it."""

    def __init__(self, lab: LabClient, directory: Path, admin: KubeClient) -> None:
        self.lab = lab
        self.admin = admin
        self.kubeconfig = directory / "worker.kubeconfig"
        self.audit_log = directory / "audit.log"
        self._directory = directory

    async def grant(self, *, whole_node: bool) -> None:
        """Apply the file as its first lines say, and write a kubeconfig with a token for the account."""
        kubectl = Kubectl(self.lab.kubeconfig, "", self._directory)
        await kubectl("apply", "-f", str(FILE), *(() if whole_node else ("-l", ONLY_REPLICA)))
        token = await kubectl("create", "token", ACCOUNT, "--namespace", ACCOUNT)
        config = yaml.safe_load(self.lab.kubeconfig.read_text())
        config["users"][0]["user"] = {"token": token.strip()}
        self.kubeconfig.write_text(yaml.safe_dump(config))

    async def plan(self, **fields: Any) -> Plan:
        """What a preflight under this identity says."""
        cluster = await connect(str(self.kubeconfig), None)
        try:
            tools = Toolbox(cluster, Settings(failure_probe_seconds=0), IDENTITY, NoRuns())
            request = ReplacementRequest.model_validate({"user_cluster": NAMESPACE, **fields})
            preflight = PreflightActivities(tools).preflight
            return (await ActivityEnvironment().run(preflight, request)).plan
        finally:
            await cluster.close()

    async def allowed(self, right: Right) -> bool:
        """What the authorizer says of one right, once it has heard of the newest rules."""
        cluster = await connect(str(self.kubeconfig), None)
        try:
            what = (right.verb, right.group, right.resource, right.namespace)
            return await cluster.permitted(*what, subresource=right.subresource, name=right.name)
        finally:
            await cluster.close()

    async def write(self, role: Json) -> None:
        """Put a role in the place of the one of its name."""
        resource, metadata = f"{role['kind'].lower()}s", role["metadata"]
        await self.admin.replace(resource, role, metadata.get("namespace", ""))

    def entries(self) -> list[Json]:
        """Every request of this identity, as the API server saw it."""
        entries = [json.loads(line) for line in self.audit_log.read_text().splitlines()]
        return [entry for entry in entries if entry["user"]["username"] == USER and "objectRef" in entry]

    def refused(self) -> set[str]:
        """What was forbidden."""
        forbidden = [e for e in self.entries() if e.get("responseStatus", {}).get("code") == 403]
        return {f"{e['verb']} {e['requestURI']}" for e in forbidden}

    def unused(self, granted: Iterable[Right]) -> set[Right]:
        """The rights that no request has needed; one in a namespace is needed before one for all of them."""
        left = set(granted)
        for entry in self.entries():
            matching = [right for right in left if _covers(right, entry["verb"], entry["objectRef"])]
            named = [right for right in granted if _covers(right, entry["verb"], entry["objectRef"])]
            narrow = [right for right in named if right.namespace is not None]
            left -= set(narrow) if narrow else set(matching)
        return left


def _covers(right: Right, verb: str, wanted: Json) -> bool:
    return (
        (right.verb, right.group, right.resource) == (verb, wanted.get("apiGroup", ""), wanted["resource"])
        and right.subresource == wanted.get("subresource", "")
        and right.namespace in (None, wanted.get("namespace"))
        and right.name in ("", wanted.get("name"))
    )


@asynccontextmanager
async def identity(kubernetes: str, directory: Path, *, whole_node: bool) -> AsyncIterator[Identity]:
    """A lab with the account, its rights and its token."""
    options = LabOptions.model_validate({"kubernetes": kubernetes, "audit_log": directory / "audit.log"})
    async with running_lab(options) as lab, KubeClient.from_kubeconfig(lab.kubeconfig) as admin:
        made = Identity(lab, directory, admin)
        await made.grant(whole_node=whole_node)
        yield made


@asynccontextmanager
async def scene(who: Identity, directory: Path) -> AsyncIterator[Scene]:
    """A worker of this identity, which keeps snapshots, and whose janitor looks only where the settings say."""
    snapshots = directory / "snapshots"
    snapshots.mkdir()
    environment = {
        "KUBECONFIG": str(who.kubeconfig),
        "REPLACE_ETCD_NAMESPACES": NAMESPACE,
        "REPLACE_ETCD_JANITOR_INTERVAL_SECONDS": "1",
        "REPLACE_ETCD_SNAPSHOT_DIR": str(snapshots),
    }
    async with running_temporal(directory) as temporal:
        worker = worker_of(temporal, who.lab, directory, environment)
        await worker.start()
        client = await Client.connect(temporal.address, data_converter=pydantic_data_converter)
        cluster = await connect(str(who.lab.kubeconfig), None)
        try:
            yield Scene(who.lab, client, cluster, worker)
        finally:
            await cluster.close()
            await worker.stop(grace=5.0)


def permissions(plan: Plan) -> Check:
    (check,) = [check for check in plan.checks if check.name == "permissions"]
    return check


@KUBERNETES
async def test_a_drain_of_the_node_uses_each_right_and_no_other(tmp_path: Path, kubernetes: str) -> None:
    """Another replacement has the node at first: waiting for it is the only thing that watches a node."""
    async with identity(kubernetes, tmp_path, whole_node=True) as who, scene(who, tmp_path) as play:
        await play.destroy()
        await annotate(play, "replace-etcd/exclusive", OTHER_NAMESPACE)
        handle = await play.start()
        await play.reach(handle, "take_node")
        await until(lambda: _watches_a_node(who), within=WITHIN)
        await annotate(play, "replace-etcd/exclusive", None)
        result = await play.result(handle)
        await nothing_left(play)
        report = await play.judgement()
        await until(lambda: _describe_tells_the_story(who, tmp_path), within=WITHIN)
    replaced(result, report)
    assert permissions(result.plan).verdict is Verdict.OK  # type: ignore[arg-type]
    assert who.refused() == set()
    assert who.unused(rights(Settings(), NAMESPACE, whole_node=True)) == {EXEC_FROM_1_35}


async def _describe_tells_the_story(who: Identity, home: Path) -> bool:
    """A person with kubectl sees each phase, from the wait for the node to the end."""
    described = await Kubectl(who.lab.kubeconfig, NAMESPACE, home)("describe", "statefulset", "kube-etcd")
    phases = (
        *("WaitingForNode", "Protecting", "Draining", "Snapshotting", "Removing", "Cleaning", "Adding"),
        *("Rejoining", "Restoring", "Verifying", "Replaced"),
    )
    return all(f"Replacement{phase} " in described for phase in phases)


async def _watches_a_node(who: Identity) -> bool:
    return any((e["verb"], e["objectRef"]["resource"]) == ("watch", "nodes") for e in who.entries())


@KUBERNETES
async def test_a_replica_alone_needs_no_right_on_pods_of_others(tmp_path: Path, kubernetes: str) -> None:
    """It would like to name the other tenants of the node, may not, and says so."""
    async with identity(kubernetes, tmp_path, whole_node=False) as who, scene(who, tmp_path) as play:
        await play.destroy("kube-etcd-2")
        refused = await play.result(await play.start())
        assert refused.outcome is Outcome.REFUSED
        assert permissions(refused.plan).evidence == (  # type: ignore[arg-type]
            "missing: list pods (cluster-wide), watch pods (cluster-wide), create pods/eviction (cluster-wide)"
        )
        result = await play.result(await play.start(drain="replica"))
        report = await play.judgement()
    replaced(result, report)
    (neighbours,) = [c for c in result.plan.checks if c.name == "other user clusters"]  # type: ignore[union-attr]
    assert (neighbours.verdict, "may not be listed" in neighbours.evidence) == (Verdict.WARN, True)
    assert who.refused() == {"list /api/v1/pods?fieldSelector=spec.nodeName%3Dnode-3"}
    watch_of_a_node = Right("watch", "", "nodes")  # the test above waits for one
    unused = who.unused(rights(Settings(), NAMESPACE, whole_node=False))
    assert unused == {EXEC_FROM_1_35, watch_of_a_node}


@KUBERNETES
async def test_the_ways_back_and_the_janitor_need_no_other_right(tmp_path: Path, kubernetes: str) -> None:
    """Cancelled in the drain, terminated in the drain and restored by the Schedule, then carried out."""
    async with identity(kubernetes, tmp_path, whole_node=True) as who, scene(who, tmp_path) as play:
        await play.destroy()
        cancelled = await into_the_drain(play)
        await cancelled.cancel()
        with pytest.raises(WorkflowFailureError):
            await cancelled.result()
        await nothing_left(play)
        terminated = await play.start()
        await play.reach(terminated, "drain_node")
        await terminated.terminate("a test")
        await until(lambda: _restored(play), within=WITHIN)
        await let_it_drain(play)
        result = await play.result(await play.start())
        report = await play.judgement()
    replaced(result, report)
    assert result.resumed_from is None, "the janitor had put everything back"
    assert who.refused() == set()


async def _restored(play: Scene) -> bool:
    return await play.cluster.get(CONFIG_MAP, "kube-etcd-replacement", NAMESPACE) is None


@KUBERNETES
@pytest.mark.parametrize("drain", ["node", "replica"])
async def test_without_any_one_right_the_preflight_names_it(
    tmp_path: Path, kubernetes: str, drain: str
) -> None:
    """One lab for all; nobody but the preflight is there, and the audit log shows that it only reads.

    What is granted everywhere cannot be taken away in one namespace.
    """
    whole_node = drain == "node"
    everywhere = {right for role in roles(whole_node=whole_node) for right in rights_of(role)}
    async with identity(kubernetes, tmp_path, whole_node=whole_node) as who:
        await who.lab.destroy("kube-etcd-1", "corrupt-wal")
        await until(lambda: _goes(who, drain), within=WITHIN)
        for role in roles(whole_node=whole_node):
            for right in rights_of(role):
                if replace(right, namespace=None) in everywhere and right.namespace:
                    continue
                if right in rights_for_people(NAMESPACE):  # only warned of: tests/activities/test_rights.py
                    continue
                await who.write(without(role, right))
                await until(partial(_is, who, right, allowed=False))
                plan = await who.plan(drain=drain)
                assert plan.pins is None, right
                assert permissions(plan).evidence == f"missing: {right}"
                await who.write(role)
                await until(partial(_is, who, right, allowed=True))
        assert await _goes(who, drain), "everything is granted again"
    assert [entry for entry in who.entries() if _changes(entry)] == []


async def _goes(who: Identity, drain: str) -> bool:
    return (await who.plan(drain=drain)).pins is not None


async def _is(who: Identity, right: Right, *, allowed: bool) -> bool:
    return await who.allowed(right) is allowed


def _changes(entry: Json) -> bool:
    """Whether a request could have changed anything: neither a question, nor a command, nor a trial."""
    what = entry["objectRef"]
    asks = what["resource"] == "selfsubjectaccessreviews"
    return entry["verb"] not in READS and not asks and "dryRun=All" not in entry["requestURI"]
