"""Two user clusters on the same nodes, each with a failed member on the same one: two replacements at once."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lab.fixture.names import OTHER_NAMESPACE, REPLICAS
from lab.fixture.user_cluster import disruption_budget, service
from replace_etcd.cluster import CLAIM, PDB, POD, SECRET, STATEFUL_SET, VOLUME, Kind, Object
from replace_etcd.errors import NotStarted, OutcomeUnknown
from replace_etcd.etcd import etcdctl, parse_members
from replace_etcd.models.phase import Phase
from replace_etcd.models.result import Outcome, ReplacementResult
from replace_etcd.pod_template import is_ready
from tests.attacks.conftest import (
    FAILED,
    SETTINGS,
    SURVIVORS,
    UTILITY,
    Attack,
    Handle,
    arrived,
    attack,
    until,
)
from tests.e2e.conftest import NAMESPACE, replaced
from tests.robustness.proxy import Held, Rule, on

pytestmark = [pytest.mark.needs("namespaces", "etcd-3.5"), pytest.mark.timeout(600)]

SERVICE = Kind("v1", "services", "Service")
KEYS = [f"key-{number}" for number in range(20)]


async def test_of_two_replacements_on_one_node_the_second_waits_and_both_end_well(tmp_path: Path) -> None:
    """It waits in sight of all, before anything of its own user cluster is changed."""
    wipe = Held()
    async with attack(tmp_path) as scene:
        other = Other(scene)
        await other.set_up()
        scene.on_the_wire(Rule(on(path=f"{UTILITY}/exec.*flock"), wipe))
        await scene.destroy()
        await other.destroy()
        first = await scene.start(drain="replica")
        await arrived(wipe)

        before = await other.world()
        second = await other.start(drain="replica")
        await other.says(second, f"the replacement of {NAMESPACE} has it")
        assert (await scene.progress(second)).phase is Phase.WAITING_FOR_NODE
        assert await other.world() == before
        wipe.release()

        result, others = await scene.result(first), await scene.result(second)
        assert others.outcome is Outcome.REPLACED, others.reason
        assert others.left == []
        await other.lost_nothing(before)
        report = await scene.judgement()
    replaced(result, report)


class Other:
    """The second user cluster: like the first, in a namespace and on volumes of its own."""

    def __init__(self, scene: Attack) -> None:
        self._scene = scene
        self._cluster = scene.cluster

    async def set_up(self) -> None:
        """Make it, and write to it."""
        cluster = self._cluster
        for replica in REPLICAS:
            claim = await self._found(CLAIM, f"data-{replica}", NAMESPACE)
            volume = await self._found(VOLUME, claim["spec"]["volumeName"], None)
            name = f"{OTHER_NAMESPACE}-data-{replica}"
            reserved = {"namespace": OTHER_NAMESPACE, "name": f"data-{replica}"}
            disk = {"local": {"path": f"/mnt/disks/{name}"}, "claimRef": reserved}
            await cluster.create(VOLUME, _copy(volume, name, **disk))
            await cluster.create(CLAIM, _copy(claim, volumeName=name), OTHER_NAMESPACE)
        for secret in await cluster.find(SECRET, NAMESPACE):
            await cluster.create(SECRET, _copy(secret), OTHER_NAMESPACE)
        await cluster.create(SERVICE, service(), OTHER_NAMESPACE)
        await cluster.create(PDB, disruption_budget("kube-etcd"), OTHER_NAMESPACE)
        stateful_set = await self._found(STATEFUL_SET, SETTINGS.stateful_set, NAMESPACE)
        await until(self._are_bound)
        await cluster.create(STATEFUL_SET, _copy(stateful_set), OTHER_NAMESPACE)
        await until(self._serves)
        for key in KEYS:
            assert (await self.etcdctl(SURVIVORS[0], "put", key, key)).exit_code == 0

    async def destroy(self) -> None:
        """Break the member on the same node: emptied, it is refused by the others at its start."""
        script = "rm -rf /var/lib/etcd/member; kill 1"
        with suppress(OutcomeUnknown):
            await self._cluster.execute(
                OTHER_NAMESPACE, FAILED, SETTINGS.container, ["/bin/sh", "-c", script], seconds=20
            )

        async def is_down() -> bool:
            return not is_ready(await self._cluster.get(POD, FAILED, OTHER_NAMESPACE))

        await until(is_down)

    async def start(self, **fields: Any) -> Handle:
        """Start its replacement."""
        return await self._scene.client.start_workflow(
            "ReplaceEtcdReplica",
            {"user_cluster": OTHER_NAMESPACE, **fields},
            id=f"replace-etcd.{OTHER_NAMESPACE}",
            task_queue="replace-etcd",
            result_type=ReplacementResult,
        )

    async def says(self, handle: Handle, words: str) -> None:
        """Until the step under way says so in its heartbeat; a run that has ended will not."""

        async def said() -> bool:
            progress = await self._scene.progress(handle)
            assert progress.outcome is None, progress.verdicts
            pending = (await handle.describe()).raw_description.pending_activities
            return any(words in str(activity.heartbeat_details) for activity in pending)

        await until(said)

    async def world(self) -> dict[str, Any]:
        """What its replacement could change."""
        budget = await self._found(PDB, SETTINGS.pdb, OTHER_NAMESPACE)
        return {
            "StatefulSet": (await self._found(STATEFUL_SET, SETTINGS.stateful_set, OTHER_NAMESPACE))["spec"],
            "budget": (budget["metadata"]["uid"], budget["spec"]),
            "pods": {
                pod["metadata"]["name"]: pod["metadata"]["uid"]
                for pod in await self._cluster.find(POD, OTHER_NAMESPACE)
            },
        }

    async def lost_nothing(self, before: dict[str, Any]) -> None:
        """Three voters, each with every key; the budget, the edit and the survivors' pods as before."""
        after = await self.world()
        assert (after["StatefulSet"], after["budget"][1]) == (before["StatefulSet"], before["budget"][1])
        assert after["pods"] == before["pods"] | {FAILED: after["pods"][FAILED]}
        listed = parse_members((await self.etcdctl(SURVIVORS[0], "member", "list", "-w", "json")).stdout)
        assert len([member for member in listed if member.started and not member.learner]) == 3
        for replica in REPLICAS:
            read = await self.etcdctl(replica, "get", "key-", "--prefix", "--keys-only", "--consistency=s")
            assert set(read.stdout.split()) == set(KEYS), replica

    async def etcdctl(self, pod: str, *arguments: str) -> Any:
        """Run `etcdctl` in one of its pods, against its own member."""
        command = etcdctl(
            list(arguments),
            certificates=SETTINGS.certificates_directory,
            endpoint=SETTINGS.client_endpoint,
            seconds=5,
        )
        return await self._cluster.execute(OTHER_NAMESPACE, pod, SETTINGS.container, command, seconds=15)

    async def _are_bound(self) -> bool:
        claims = await self._cluster.find(CLAIM, OTHER_NAMESPACE)
        return len(claims) == 3 and all(c.get("status", {}).get("phase") == "Bound" for c in claims)

    async def _serves(self) -> bool:
        with suppress(NotStarted, OutcomeUnknown):
            asked = [await self.etcdctl(replica, "endpoint", "health") for replica in REPLICAS]
            return all(answer.exit_code == 0 for answer in asked)
        return False

    async def _found(self, kind: Kind, name: str, namespace: str | None) -> Object:
        found = await self._cluster.get(kind, name, namespace)
        assert found is not None
        return found


def _copy(found: Object, name: str | None = None, **spec: Any) -> Object:
    """The same object for the other namespace, with another specification in places."""
    metadata = {key: found["metadata"][key] for key in ("name", "labels") if key in found["metadata"]}
    kept = {key: value for key, value in found.items() if key not in ("metadata", "status")}
    if spec:
        kept["spec"] = found["spec"] | spec
    return kept | {"metadata": metadata | ({"name": name} if name else {})}
