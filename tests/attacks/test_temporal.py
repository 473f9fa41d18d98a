"""Attacks by time: Temporal that is gone for a while, and an approval for a world that has moved on."""

from pathlib import Path

import pytest

from replace_etcd.cluster import PDB, POD
from replace_etcd.models.result import Outcome
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

WIPE = f"{UTILITY}/exec.*flock"


async def test_temporal_that_is_killed_twice_and_restarted_finds_the_run_going_on(tmp_path: Path) -> None:
    """Before the removal and after it; the second time the worker is gone with it, as when a machine goes down."""
    mount, wipe = Held(), Held()
    async with attack(tmp_path, database=tmp_path / "temporal.db") as scene:
        scene.on_the_wire(Rule(on(method="POST", path=r"/pods(\?|$)"), mount), Rule(on(path=WIPE), wipe))
        await scene.destroy()
        handle = await scene.start()

        await arrived(mount)
        await scene.temporal.process.kill()
        mount.release()
        await scene.temporal.process.start()

        await arrived(wipe)
        await scene.temporal.process.kill()
        await scene.worker.kill()
        wipe.release()
        await scene.temporal.process.start()
        await scene.worker.start()

        await scene.has_done(handle, "clean_data_directory")
        result = await scene.result(handle)
        report = await scene.judgement()
    replaced(result, report)


async def test_an_approval_for_a_world_that_has_moved_is_refused(tmp_path: Path) -> None:
    """What was approved is a plan, pinned to objects; hours later they may be others, or another member be down."""
    async with attack(tmp_path) as scene:
        await scene.destroy()

        handle = await _waits_for_approval(scene)
        budget = await scene.cluster.get(PDB, SETTINGS.pdb, NAMESPACE)
        assert budget is not None
        await scene.cluster.delete(PDB, SETTINGS.pdb, NAMESPACE, uid=budget["metadata"]["uid"])
        again = {key: budget["metadata"][key] for key in ("name", "namespace", "labels")}
        await scene.cluster.create(PDB, budget | {"metadata": again}, NAMESPACE)
        await _approved_is_refused(scene, handle, "has changed since the plan was approved")

        handle = await _waits_for_approval(scene)
        await scene.lab.signal_member(SURVIVORS[1], "stop")
        await _approved_is_refused(scene, handle, "the quorum is lost")
        await scene.lab.signal_member(SURVIVORS[1], "cont")

        handle = await _waits_for_approval(scene)
        pod = await scene.cluster.get(POD, FAILED, NAMESPACE)
        assert pod is not None
        uid = pod["metadata"]["uid"]
        await scene.cluster.delete(POD, FAILED, NAMESPACE, uid=uid)
        await until(lambda: _is_another(scene, uid))
        await _approved_is_refused(scene, handle, "has changed since the plan was approved")

        result = await scene.result(await scene.start())
        report = await scene.judgement()
    replaced(result, report)


async def _waits_for_approval(scene: Attack) -> Handle:
    handle = await scene.start(require_approval=True)

    async def asks() -> bool:
        progress = await scene.progress(handle)
        assert progress.outcome is None, progress
        return progress.waiting_for == "approval"

    await until(asks)
    return handle


async def _approved_is_refused(scene: Attack, handle: Handle, why: str) -> None:
    before = await scene.world()
    await handle.execute_update("approve", {"approver": "test"})
    result = await scene.result(handle)
    assert result.outcome is Outcome.REFUSED, result.reason
    assert why in result.reason
    assert await scene.world() == before


async def _is_another(scene: Attack, uid: str) -> bool:
    pod = await scene.cluster.get(POD, FAILED, NAMESPACE)
    return pod is not None and bool(pod["metadata"]["uid"] != uid)
