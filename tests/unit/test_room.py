"""Alone on the volume that is to be emptied: what goes by itself is waited for, what does not is room to be made."""

from types import SimpleNamespace
from typing import Any

import pytest

from activities.data_directory import DataDirectoryActivities
from replace_etcd.errors import Moved, UtilityPodGone, VolumeTaken
from replace_etcd.models.orders import Fence, UtilityPodOrder
from replace_etcd.models.phase import Phase
from replace_etcd.settings import Settings
from tests.workflows.script import PINS

FENCE = Fence(workflow_id="w", first_run_id="r", run_id="r", generation=1, phase=Phase.CLEANING)
ORDER = UtilityPodOrder(pins=PINS, fence=FENCE, utility_uid="uid-utility", member_inode="7")


def pod(name: str, *, node: str | None = "node-2", **metadata: str) -> dict[str, Any]:
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": PINS.claim}}
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", **metadata},
        "spec": {"volumes": [volume], "nodeName": node},
    }


UTILITY = pod("utility")
SUCCESSOR = pod("kube-etcd-1")


async def look(*pods: dict[str, Any]) -> None:
    async def find(*_: str) -> list[dict[str, Any]]:
        return list(pods)

    tools: Any = SimpleNamespace(cluster=SimpleNamespace(find=find), settings=Settings())
    await DataDirectoryActivities(tools)._must_be_alone(ORDER)


async def test_a_pod_that_waits_for_a_node_is_in_nobodys_way() -> None:
    await look(UTILITY, pod("kube-etcd-1", node=None))


async def test_a_pod_that_came_to_the_volume_takes_the_room() -> None:
    with pytest.raises(VolumeTaken, match="pod kube-etcd-1 uses data-kube-etcd-1 on node-2"):
        await look(UTILITY, SUCCESSOR)


async def test_a_pod_that_is_being_deleted_is_waited_for() -> None:
    with pytest.raises(Moved, match="nothing is wiped"):
        await look(UTILITY, pod("kube-etcd-1", deletionTimestamp="2026-01-01T00:00:00Z"))


async def test_without_the_utility_pod_there_is_nothing_to_empty_it_through() -> None:
    with pytest.raises(UtilityPodGone):
        await look(pod("another-utility", node=None))
