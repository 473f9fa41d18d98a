"""A way back restarts no member that is needed: one that serves again waits for every voter, and is left without."""

from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities import restart, survivors
from activities.node import HOLDER_PREFIX
from activities.restart import RestartActivities
from activities.stateful_set import StatefulSetActivities
from activities.step import step
from activities.survivors import Survivors
from replace_etcd.cluster import NODE, POD, CommandResult, Kind, Object, Patch
from replace_etcd.cluster import STATEFUL_SET as STATEFUL_SETS
from replace_etcd.errors import CutOff, NotStarted, ReplacementError, Unreachable
from replace_etcd.models.orders import Left
from tests.unit.scripted_etcd import NAMES, ScriptedEtcd
from tests.unit.test_recheck import PINS

FAILED = PINS.replica
NODE_OF_FAILED = f"node-of-{FAILED}"


class Cluster(ScriptedEtcd):
    """Three pods of one StatefulSet, each on a node that is schedulable; what is deleted comes back at once."""

    def __init__(self) -> None:
        super().__init__()
        self.deleted: list[str] = []
        self.error: ReplacementError | None = None
        for name in NAMES:
            self.objects[POD.plural, name] = pod(name)
            self.objects[NODE.plural, f"node-of-{name}"] = {"metadata": {"uid": PINS.node_uid}, "spec": {}}

    def of(self, kind: Kind, name: str) -> Object:
        return self.objects[kind.plural, name]

    async def wait_for(self, kind: Kind, name: str, *_: Any, seconds: float) -> None:
        """Nothing changes here by itself: what does not hold never will."""
        holds = _[-1]
        if not holds(self.of(kind, name)):
            raise TimeoutError

    async def patch(self, kind: Kind, name: str, namespace: str | None, operations: Patch) -> Object:
        found = self.of(kind, name)
        for operation in operations:
            part, _, field = str(operation["path"])[1:].partition("/")
            if operation["op"] != "test":
                found[part][field] = operation.get("value", False)
        return found

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

    def settled(self) -> None:
        """The answer to a change has come."""


def pod(name: str, flag: str = "existing", state: str = "running") -> Object:
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
        "status": {
            "phase": "Running",
            "containerStatuses": [{"name": "kube-etcd", "state": {state: {}}}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
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
    pins = PINS.model_copy(update={"flag": FLAG, "node": NODE_OF_FAILED})
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
    assert "runs with --initial-cluster-state=existing and is not restarted" in done.left[0]


async def test_where_its_node_would_not_take_it_back_it_is_let_live() -> None:
    cluster = serving()
    cluster.of(NODE, NODE_OF_FAILED)["spec"]["unschedulable"] = True
    done = await restarted(cluster)
    assert (cluster.deleted, len(done.left)) == ([], 1)


async def test_while_it_serves_no_rollout_may_restart_it() -> None:
    cluster = serving()
    template = {
        "spec": {"selector": {}, "updateStrategy": {"type": "OnDelete"}},
        "status": {"updateRevision": "2"},
    }
    cluster.objects[STATEFUL_SETS.plural, "kube-etcd"] = STATEFUL_SET | template
    for name in NAMES:
        cluster.of(POD, name)["metadata"]["labels"] = {
            "controller-revision-hash": "1" if name == FAILED else "2"
        }
    held: Any = Held()
    pins = PINS.model_copy(update={"flag": FLAG, "update_strategy": {"type": "RollingUpdate"}})
    assert await StatefulSetActivities(cluster.tools()).strategy_back(held, pins) == [FAILED]


async def test_the_cordon_of_this_replacement_is_needed_no_more() -> None:
    cluster = serving()
    ours = {HOLDER_PREFIX + PINS.user_cluster: "cordoned"}
    cluster.objects[NODE.plural, NODE_OF_FAILED] = {
        "metadata": {"uid": PINS.node_uid, "resourceVersion": "1", "annotations": ours},
        "spec": {"unschedulable": True},
    }
    await restarted(cluster)
    assert cluster.deleted == [f"uid-of-{FAILED}"]
    assert not cluster.of(NODE, NODE_OF_FAILED)["spec"]["unschedulable"]


@pytest.mark.parametrize(
    ("state", "answers", "error", "serves"),
    [
        ("running", True, None, True),
        ("running", False, None, False),
        ("running", True, NotStarted("exec was refused with 403"), True),
        ("running", True, Unreachable("its node agent does not answer"), True),
        ("waiting", True, CutOff("container not found"), False),
    ],
)
async def test_whoever_cannot_be_asked_may_serve(
    state: str, answers: bool, error: ReplacementError | None, serves: bool
) -> None:
    cluster = Cluster()
    cluster.members[1].answers, cluster.error = answers, error

    @step
    async def asking() -> Left:
        may = await Survivors(cluster.tools()).may_serve(PINS, pod(FAILED, state=state))
        return Left(note=str(may))

    assert (await ActivityEnvironment().run(asking)).note == str(serves)
