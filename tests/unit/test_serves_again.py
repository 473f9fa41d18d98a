"""A way back restarts no member that is needed: one that serves again waits for every voter, and is left without."""

from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities import restart, survivors
from activities.restart import RestartActivities
from activities.step import step
from activities.survivors import Survivors
from replace_etcd.cluster import NODE, POD, CommandResult, Kind, Object
from replace_etcd.errors import NotStarted, ReplacementError, Unreachable
from replace_etcd.models.orders import Left
from tests.unit.scripted_etcd import NAMES, ScriptedEtcd
from tests.unit.test_recheck import PINS

FAILED = PINS.replica


class Cluster(ScriptedEtcd):
    """Three pods of one StatefulSet, each on a node that is schedulable; what is deleted comes back at once."""

    def __init__(self) -> None:
        super().__init__()
        self.deleted: list[str] = []
        self.error: ReplacementError | None = None
        for name in NAMES:
            self.objects[POD.plural, name] = pod(name)
            self.objects[NODE.plural, f"node-of-{name}"] = {"spec": {}}

    def of(self, kind: Kind, name: str) -> Object:
        return self.objects[kind.plural, name]

    async def wait_for(self, kind: Kind, name: str, *_: Any, seconds: float) -> None:
        """Nothing changes here by itself: what does not hold never will."""
        holds = _[-1]
        if not holds(self.of(kind, name)):
            raise TimeoutError

    async def delete(self, kind: Kind, name: str, namespace: str, *, uid: str) -> None:
        self.deleted.append(uid)
        self.objects[kind.plural, name] = pod(name, flag="new")

    async def execute(self, *place: Any, seconds: float) -> CommandResult:
        if self.error is not None:
            raise self.error
        return await super().execute(*place, seconds=seconds)


class Held:
    """An attempt that holds the record."""

    async def hold(self) -> None:
        """It is held."""


def pod(name: str, flag: str = "existing", phase: str = "Running") -> Object:
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-of-{name}",
            "ownerReferences": [{"uid": PINS.stateful_set_uid}],
        },
        "spec": {
            "nodeName": f"node-of-{name}",
            "containers": [{"name": "kube-etcd", "args": [f"--initial-cluster-state={flag}"]}],
        },
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": "True"}]},
    }


STATEFUL_SET: Object = {
    "metadata": {"uid": PINS.stateful_set_uid, "namespace": PINS.user_cluster},
    "spec": {"selector": {}},
}
FLAG = PINS.flag.model_copy(
    update={"original": "--initial-cluster-state=new", "existing": "--initial-cluster-state=existing"}
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not pass need not be waited for."""
    monkeypatch.setattr(restart, "COSTS_NOTHING_SECONDS", 0.3)
    monkeypatch.setattr(survivors, "PROBE_PAUSE_SECONDS", 0.0)


async def restarted(cluster: Cluster) -> Left:
    activities, held = RestartActivities(cluster.tools()), Held()
    pins = PINS.model_copy(update={"flag": FLAG})
    running = cluster.of(POD, FAILED)

    @step
    async def restarting() -> Left:
        return await activities._restart_if_it_costs_nothing(held, pins, running, STATEFUL_SET)  # type: ignore[arg-type]

    return await ActivityEnvironment().run(restarting)


def serving() -> Cluster:
    cluster = Cluster()
    cluster.members[1].answers = True
    return cluster


async def test_one_that_every_voter_can_spare_is_restarted() -> None:
    cluster = serving()
    done = await restarted(cluster)
    assert (cluster.deleted, done.left) == ([f"uid-of-{FAILED}"], [])


async def test_where_a_survivor_is_silent_it_is_let_live() -> None:
    cluster = serving()
    cluster.members[2].answers = False
    done = await restarted(cluster)
    assert cluster.deleted == []
    assert "serves again with --initial-cluster-state=existing" in done.left[0]


async def test_where_its_node_would_not_take_it_back_it_is_let_live() -> None:
    cluster = serving()
    cluster.of(NODE, f"node-of-{FAILED}")["spec"]["unschedulable"] = True
    done = await restarted(cluster)
    assert (cluster.deleted, len(done.left)) == ([], 1)


@pytest.mark.parametrize(
    ("phase", "answers", "error", "serves"),
    [
        ("Running", True, None, True),
        ("Running", False, None, False),
        ("Running", True, NotStarted("its container has ended"), False),
        ("Running", True, Unreachable("its node agent does not answer"), True),
        ("Pending", True, Unreachable("is not even asked"), False),
    ],
)
async def test_whoever_cannot_be_asked_may_serve(
    phase: str, answers: bool, error: ReplacementError | None, serves: bool
) -> None:
    cluster = Cluster()
    cluster.members[1].answers, cluster.error = answers, error

    @step
    async def asking() -> Left:
        may = await Survivors(cluster.tools()).may_serve(PINS, pod(FAILED, phase=phase))
        return Left(note=str(may))

    assert (await ActivityEnvironment().run(asking)).note == str(serves)
