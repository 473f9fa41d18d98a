"""The runbook, left by a person after any of its eleven steps: the replacement goes on from what is there.

Nobody tells it what was done: no record stands, the backup of the budget is in the person's own file. The failed
replica is the highest ordinal, which the runbook as it is written does not lose the quorum with (docs/runbook.md).
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from lab.binaries import control_plane_folder, etcd_assets
from lab.fixture.names import DISRUPTION_BUDGET
from lab.options import LabOptions
from replace_etcd.cluster import CONFIG_MAP, NODE, PDB, POD
from replace_etcd.models.phase import Phase
from replace_etcd.models.result import ReplacementResult
from tests.e2e.conftest import NAMESPACE, REAL, Scene, replaced, scene_of
from tests.lab.nodes.kubectl import Kubectl
from tests.lab.nodes.runbook import ByHand
from tests.lab.nodes.waiting import until

pytestmark = [pytest.mark.timeout(400), pytest.mark.needs("namespaces", "etcd-3.5", "kubectl")]

REPLICA = "kube-etcd-2"
UTILITY = "etcd-utility-2"
GOES_ON = {5: Phase.CLEANING, 6: Phase.CLEANING, 7: Phase.CLEANING, 8: Phase.CLEANING, 9: Phase.CLEANING}
GOES_ON |= {10: Phase.CLEANING, 11: Phase.CLEANING, 3: Phase.PROTECTING, 4: Phase.PROTECTING}


class Runbook(ByHand):
    """The eleven steps, as they are written."""

    backup = ""
    rolls_a_broken_pod = False

    async def follow(self, last: int) -> None:
        """Carry out the steps up to this one, and leave."""
        steps: list[Callable[[], Awaitable[object]]] = [
            self.back_up,
            lambda: self.kubectl("delete", "poddisruptionbudget", DISRUPTION_BUDGET),
            lambda: self.set_flag("existing"),
            lambda: self.kubectl("drain", self.node, "--ignore-daemonsets", "--delete-emptydir-data"),
            self.remove_member,
            self.create_utility_pod,
            lambda: self.kubectl("exec", UTILITY, "--", "/bin/bash", "-c", "rm -rf /var/lib/etcd/*"),
            lambda: self.kubectl("delete", "pod", UTILITY),
            lambda: self.kubectl("uncordon", self.node),
            lambda: self.set_flag("new"),
            lambda: self.kubectl("apply", "--filename=-", feed=self.backup),
        ]
        for number, step in enumerate(steps[:last], start=1):
            await step()
            await self.look(number)

    async def back_up(self) -> None:
        """The first step: into the person's own file."""
        self.backup = await self.kubectl("get", "poddisruptionbudget", DISRUPTION_BUDGET, "--output=yaml")

    async def look(self, number: int) -> None:
        """A person looks at the pod before going on: `OrderedReady` waits for a broken pod, `Parallel` rolls it."""
        if number in (3, 10) and self.rolls_a_broken_pod:
            flag = {3: "existing", 10: "new"}[number]
            await until(lambda: self._carries(f"--initial-cluster-state={flag}"))
        if number == 9:
            await self.look_at_the_pod()

    async def _carries(self, flag: str) -> bool:
        pod = await self.kubectl.get("pod", self.replica)
        return flag in pod["spec"]["containers"][0]["args"]


async def nothing_left(scene: Scene) -> None:
    """No record, no utility Pod, no annotation, no flag but the one of the template."""
    assert await scene.cluster.get(CONFIG_MAP, "kube-etcd-replacement", NAMESPACE) is None
    assert await scene.cluster.get(POD, UTILITY, NAMESPACE) is None
    for node in await scene.cluster.find(NODE):
        assert not [k for k in node["metadata"].get("annotations") or {} if k.startswith("replace-etcd/")]
    for pod in await scene.cluster.find(POD, NAMESPACE, labels="app=kube-etcd"):
        assert "--initial-cluster-state=new" in pod["spec"]["containers"][0]["args"]


def person(scene: Scene) -> Runbook:
    return Runbook(Kubectl(control_plane_folder() / "kubectl", scene.lab.kubeconfig), REPLICA)


def options(kubernetes: str, pod_management: str) -> LabOptions:
    etcd = next(folder for folder in etcd_assets() if folder.name.startswith("3.5."))
    return LabOptions.model_validate(
        {"etcd": etcd, "kubernetes": kubernetes, "pod_management": pod_management}
    )


def resumed(result: ReplacementResult, last: int) -> None:
    """It went on from where the person left."""
    assert result.resumed_from == GOES_ON.get(last)
    assert result.plan is not None
    says = [check.evidence for check in result.plan.checks if check.name == "resume"]
    assert bool(says) == (last in GOES_ON)


CASES = [("simulated", "OrderedReady", last) for last in range(1, 12)]
CASES += [("simulated", "Parallel", last) for last in (3, 10)]
REAL_CASES = [
    pytest.param(*REAL.values, management, last, marks=REAL.marks)
    for management, last in (("OrderedReady", 4), ("Parallel", 9), ("OrderedReady", 10))
]


@pytest.mark.parametrize(("kubernetes", "pod_management", "last"), [*CASES, *REAL_CASES])
async def test_a_runbook_left_after_any_step_is_finished(
    tmp_path: Path, kubernetes: str, pod_management: str, last: int
) -> None:
    async with scene_of(options(kubernetes, pod_management), tmp_path) as scene:
        await scene.destroy(REPLICA)
        runbook = person(scene)
        runbook.rolls_a_broken_pod = pod_management == "Parallel"
        await runbook.follow(last)
        result = await scene.result(await scene.start())
        assert result.outcome == "replaced", result.reason
        if 2 <= last <= 10:  # the budget is in the person's file, and nobody but the person knows it
            assert await scene.cluster.get(PDB, DISRUPTION_BUDGET, NAMESPACE) is None
            assert any(DISRUPTION_BUDGET in left and "backup" in left for left in result.left), result.left
            result = result.model_copy(update={"left": []})
            await runbook.kubectl("apply", "--filename=-", feed=runbook.backup)
        await nothing_left(scene)
        report = await scene.judgement()
    replaced(result, report)
    resumed(result, last)
