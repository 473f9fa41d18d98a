"""The same random walk on the simulated and on the real control plane, compared after each step.

The other tests state what somebody thought of. Here a StatefulSet with a budget is edited, its pods fail, heal, hang,
are deleted and evicted in any order, and both must answer alike and come to rest alike.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from lab.control_plane import ControlPlane
from lab.kube_client import ApiError, KubeClient
from lab.pki import AdminPki
from tests.lab.conftest import run_control_plane
from tests.lab.kubelet import Kubelet
from tests.lab.world import World, flag_of, is_going, is_ready, uid_of

pytestmark = [pytest.mark.needs("kubernetes"), pytest.mark.timeout(240)]
Json = dict[str, Any]
STEPS = 14
PODS = [f"etcd-{ordinal}" for ordinal in range(3)]
STRATEGIES: list[Json] = [
    {"type": "OnDelete"},
    {"type": "RollingUpdate"},
    {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
    {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}},
]
BUDGETS: list[Json] = [{"minAvailable": 2}, {"minAvailable": 3}, {"maxUnavailable": 1}, {"maxUnavailable": 0}]


class Side:
    """One control plane's StatefulSet, its budget and its kubelet."""

    def __init__(self, world: World, kubelet: Kubelet) -> None:
        self.world = world
        self.kubelet = kubelet
        self._lives: dict[str, str] = {}

    async def begin(self, policy: str) -> None:
        await self.world.running_set(podManagementPolicy=policy)
        await self.world.budget(**BUDGETS[0])
        await self._until_budget(lambda status: status.get("currentHealthy") == 3)

    async def _until_budget(self, holds: Callable[[Json], bool]) -> None:
        await self.world.until(lambda pdb: holds(pdb["status"]), "poddisruptionbudgets", "pdb")

    async def take(self, step: str, *details: Any) -> int:
        """Carry out a step; return the code of the answer."""
        try:
            await getattr(self, f"step_{step}")(*details)
        except ApiError as error:
            return error.code
        return 200

    async def step_flag(self, value: str) -> None:
        await self.world.set_flag(value)

    async def step_strategy(self, strategy: Json) -> None:
        await self._patch({"op": "replace", "path": "/spec/updateStrategy", "value": strategy})

    async def step_scale(self, replicas: int) -> None:
        await self._patch({"op": "replace", "path": "/spec/replicas", "value": replicas})

    async def step_fail(self, pod: str) -> None:
        await self.kubelet.fail(pod)

    async def step_heal(self, pod: str) -> None:
        await self.kubelet.heal(pod)

    async def step_evict(self, pod: str) -> None:
        """Evict, and end the pod only when the budget has seen it go.

        A pod that is back under its name before that is taken for the evicted one for two minutes by the real
        controller, or not: it depends on who is faster.
        """
        was_hung = pod in self.kubelet.hung
        self.kubelet.hung.add(pod)
        try:
            await self.world.client.evict(pod, self.world.namespace)
            await self._until_budget(lambda status: not status.get("disruptedPods"))
            if not was_hung:
                await self.world.client.delete("pods", pod, self.world.namespace, {"gracePeriodSeconds": 0})
        finally:
            if not was_hung:
                self.kubelet.hung.discard(pod)

    async def step_delete(self, pod: str) -> None:
        await self.world.client.delete("pods", pod, self.world.namespace)

    async def step_hang(self, pod: str) -> None:
        self.kubelet.hung.add(pod)
        await self.step_delete(pod)

    async def step_force(self, pod: str) -> None:
        self.kubelet.hung.discard(pod)
        await self.world.client.delete("pods", pod, self.world.namespace, {"gracePeriodSeconds": 0})

    async def step_budget(self, spec: Json) -> None:
        patch = [
            {
                "op": "replace",
                "path": "/spec",
                "value": {"selector": {"matchLabels": {"app": "etcd"}}, **spec},
            }
        ]
        await self.world.client.patch("poddisruptionbudgets", "pdb", patch, self.world.namespace)

    async def _patch(self, operation: Json) -> None:
        await self.world.client.patch("statefulsets", "etcd", [operation], self.world.namespace)

    async def rest(self) -> Json:
        """Wait until nothing moves any more; return what there is, comparable with the other side."""
        seen: list[Json] = []
        while len(seen) < 3 or not seen[-1] == seen[-2] == seen[-3]:
            await self.world.settled()
            seen.append(await self._look())
        lives = {name: pod.pop("uid") for name, pod in seen[-1]["pods"].items()}
        changed = {name for name, uid in lives.items() if self._lives.get(name) != uid}
        self._lives = lives
        return {**seen[-1], "changed": changed}

    async def _look(self) -> Json:
        pods = await self.world.pods()
        status = (await self.world.get("statefulsets", "etcd"))["status"]
        budget = (await self.world.get("poddisruptionbudgets", "pdb"))["status"]
        return {
            "pods": {name: _summary(pod) for name, pod in pods.items()},
            "counts": {key: value for key, value in status.items() if key.endswith("eplicas") and value},
            "same revision": status["currentRevision"] == status["updateRevision"],
            "budget": {
                key: value for key, value in budget.items() if isinstance(value, int) and key[0] != "o"
            },
        }


def _summary(pod: Json) -> Json:
    going = is_going(pod)
    return {"flag": flag_of(pod), "ready": is_ready(pod), "going": going, "uid": uid_of(pod)}


def walk(chance: random.Random) -> Iterator[tuple[str, Any]]:
    """The steps of one walk."""
    choices: list[Callable[[], tuple[str, Any]]] = [
        lambda: ("flag", chance.choice(["new", "existing"])),
        lambda: ("strategy", chance.choice(STRATEGIES)),
        lambda: ("scale", chance.choice([2, 3])),
        lambda: ("budget", chance.choice(BUDGETS)),
        *[lambda: ("fail", chance.choice(PODS)), lambda: ("heal", chance.choice(PODS))] * 2,
        *[lambda: ("evict", chance.choice(PODS)), lambda: ("delete", chance.choice(PODS))] * 2,
        lambda: ("hang", chance.choice(PODS)),
        lambda: ("force", chance.choice(PODS)),
    ]
    for _ in range(STEPS):
        yield chance.choice(choices)()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, pki: AdminPki) -> Iterator[list[ControlPlane]]:
    """One control plane of each kind."""
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in ("simulated", "real")}
    with (
        run_control_plane("simulated", folders["simulated"], pki) as simulated,
        run_control_plane("real", folders["real"], pki) as real,
    ):
        yield [simulated, real]


@pytest.fixture
async def sides(both: list[ControlPlane]) -> AsyncIterator[list[Side]]:
    """A namespace on each, with a kubelet."""
    async with AsyncExitStack() as stack:
        made = []
        for control_plane in both:
            client = await stack.enter_async_context(KubeClient.from_kubeconfig(control_plane.kubeconfig))
            created = await client.create("namespaces", {"metadata": {"generateName": "walk-"}})
            world = World(client, created["metadata"]["name"])
            stack.push_async_callback(world.remove)
            made.append(Side(world, await stack.enter_async_context(Kubelet(client, world.namespace))))
        yield made


async def on_both(sides: list[Side], call: Callable[[Side], Awaitable[Any]]) -> list[Any]:
    return list(await asyncio.gather(*(call(side) for side in sides)))


@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
@pytest.mark.parametrize("seed", range(4))
async def test_both_come_to_rest_alike(sides: list[Side], policy: str, seed: int) -> None:
    """The seed names the walk, so that a failure can be repeated."""
    await on_both(sides, lambda side: side.begin(policy))
    taken: list[Any] = []
    for step, detail in walk(random.Random(f"{policy}-{seed}")):  # noqa: S311 - a walk, not a secret
        codes = await on_both(sides, lambda side, step=step, detail=detail: side.take(step, detail))  # type: ignore[misc]
        taken.append((step, detail, codes))
        assert codes[0] == codes[1], taken
        simulated, real = await on_both(sides, lambda side: side.rest())
        assert simulated == real, taken
