"""From a seed to a schedule: which replacement is run, and what is done to it when. Pure: a seed is its own replay.

What a schedule may hold is what the product can be asked to survive (docs/reliability.md): one survivor is hurt at a
time and not for good, somebody's kubectl restarts no survivor, and everything is lifted in the end.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.fixture.names import REPLICAS, node_of
from lab.models import Fault as Damage

Params = dict[str, Any]

STEPS = (
    "preflight",
    "claim_replacement_record",
    "take_node",
    "back_up_pod_disruption_budget",
    "join_existing_on_delete",
    "cordon_node",
    "create_utility_pod",
    "watch_failed_member",
    "delete_pod_disruption_budget",
    "evict_failed_pod",
    "protect_survivors",
    "drain_node",
    "wait_until_failed_pod_is_gone",
    "take_snapshot",
    "remove_member",
    "clean_data_directory",
    "delete_utility_pod",
    "add_member",
    "uncordon_node",
    "promote_member",
    "wait_for_voter",
    "restore_initial_cluster_state",
    "restart_replaced_pod",
    "restore_update_strategy",
    "restore_pod_disruption_budget",
    "verify_replacement",
    "delete_replacement_record",
)
UNTIL_THE_EVICTION = STEPS[STEPS.index("join_existing_on_delete") : STEPS.index("drain_node")]
DAMAGES: tuple[Damage, ...] = ("corrupt-wal", "corrupt-db", "wipe", "hang")


@dataclass(frozen=True)
class Moment:
    """When a step makes its n-th request to the API server, and a little later; or so long after the start."""

    step: str | None = None
    request: int = 1
    delay: float = 0.0

    def __str__(self) -> str:
        if self.step is None:
            return f"{self.delay:.1f} s after the start"
        later = f" and {self.delay:.1f} s" if self.delay else ""
        return f"at request {self.request}{later} of {self.step}"


@dataclass(frozen=True)
class Fault:
    """Something that is done to the scene, and for how long it lasts."""

    kind: str
    seconds: float = 0.0
    params: Params = field(default_factory=dict)

    def __str__(self) -> str:
        words = [f"{key}={value}" for key, value in self.params.items()]
        lasts = [f"for {self.seconds:.1f} s"] if self.seconds else []
        return " ".join([self.kind, *words, *lasts])


@dataclass(frozen=True)
class Schedule:
    """One run of the explorer, whole."""

    seed: int
    replica: str
    damage: Damage
    pod_management: str
    request: Params
    faults: tuple[tuple[Moment, Fault], ...]

    @property
    def survivors(self) -> list[str]:
        """The replicas that nobody broke."""
        return [name for name in REPLICAS if name != self.replica]

    def __str__(self) -> str:
        asked = ", ".join(f"{key}={value}" for key, value in self.request.items()) or "as by default"
        lines = [f"seed {self.seed}: {self.replica}, {self.damage}, {self.pod_management}; {asked}"]
        return "\n".join(lines + [f"  {moment}: {fault}" for moment, fault in self.faults])


class _Draw:
    """The choices of one schedule, made in order from one generator."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - reproducible, no secret
        self.replica = self.one_of(REPLICAS)
        self.victim = self.one_of([name for name in REPLICAS if name != self.replica])

    def one_of(self, choices: Any) -> Any:
        return self._random.choice(choices)

    def sample(self, choices: Any, count: int) -> list[Any]:
        return self._random.sample(choices, count)

    def seconds(self, least: float, most: float) -> float:
        return round(self._random.uniform(least, most), 1)

    def number(self, least: int, most: int) -> int:
        return self._random.randint(least, most)

    def likely(self, chance: float) -> bool:
        return self._random.random() < chance


Make = Callable[[_Draw], tuple[Moment, Fault]]


def _anywhere(draw: _Draw) -> Moment:
    if draw.likely(0.2):
        return Moment(delay=draw.seconds(0, 25))
    return _during(draw, STEPS)


def _during(draw: _Draw, steps: tuple[str, ...]) -> Moment:
    delay = draw.seconds(0, 1.5) if draw.likely(0.5) else 0.0
    return Moment(draw.one_of(steps), draw.number(1, 4), delay)


def _lasting(kind: str, least: float, most: float, **choices: tuple[Any, ...]) -> Make:
    """A fault that is lifted by itself after a while."""

    def make(draw: _Draw) -> tuple[Moment, Fault]:
        params = {name: draw.one_of(values) for name, values in choices.items()}
        return _anywhere(draw), Fault(kind, draw.seconds(least, most), params)

    return make


def _of_the_victim(kind: str, least: float, most: float) -> Make:
    """A survivor is hurt: in one schedule always the same one."""

    def make(draw: _Draw) -> tuple[Moment, Fault]:
        return _anywhere(draw), Fault(kind, draw.seconds(least, most), {"replica": draw.victim})

    return make


def _partition(draw: _Draw) -> tuple[Moment, Fault]:
    others = [name for name in REPLICAS if name != draw.victim]
    between = {"one": draw.victim, "other": draw.one_of(others)}
    return _anywhere(draw), Fault("partition", draw.seconds(2, 12), between)


def _agent(kind: str) -> Make:
    def make(draw: _Draw) -> tuple[Moment, Fault]:
        return _anywhere(draw), Fault(kind, draw.seconds(1, 15), {"node": node_of(draw.one_of(REPLICAS))})

    return make


def _wire(kind: str, **choices: tuple[Any, ...]) -> Make:
    def make(draw: _Draw) -> tuple[Moment, Fault]:
        params = {name: draw.one_of(values) for name, values in choices.items()}
        return _anywhere(draw), Fault(
            kind, draw.seconds(1, 8), {"chance": draw.one_of((0.3, 0.6, 1.0))} | params
        )

    return make


def _late(draw: _Draw) -> tuple[Moment, Fault]:
    """One change of a step is held on its way, and acts when its sender may have given it up."""
    step = draw.one_of(STEPS[1:])
    return Moment(step), Fault("late-request", draw.seconds(3, 15), {"step": step, "nth": draw.number(1, 3)})


def _early(kind: str) -> Make:
    """What would harm by itself after the removal is done before it."""

    def make(draw: _Draw) -> tuple[Moment, Fault]:
        return _during(draw, UNTIL_THE_EVICTION), Fault(kind)

    return make


KINDS: Mapping[str, Make] = {
    "worker-kill": _lasting("worker-kill", 0, 8, worker=(0, 1)),
    "workers-kill": _lasting("workers-kill", 0, 8),
    "worker-pause": _lasting("worker-pause", 3, 45, worker=(0, 1)),
    "temporal-kill": _lasting("temporal-kill", 0, 8),
    "temporal-pause": _lasting("temporal-pause", 1, 15),
    "api-kill": _lasting("api-kill", 0, 8),
    "api-pause": _lasting("api-pause", 1, 12),
    "agent-stop": _agent("agent-stop"),
    "agent-freeze": _agent("agent-freeze"),
    "survivor-kill": _of_the_victim("survivor-kill", 0, 0),
    "survivor-pause": _of_the_victim("survivor-pause", 1, 8),
    "survivor-cut": _of_the_victim("survivor-cut", 1, 8),
    "partition": _partition,
    "wire-errors": _wire("wire-errors", status=(500, 500, 429, 409, 403)),
    "wire-resets": _wire("wire-resets"),
    "wire-lost-answers": _wire("wire-lost-answers"),
    "wire-latency": _wire("wire-latency", latency=(0.2, 1.0, 4.0)),
    "exec-dropped": _wire("exec-dropped"),
    "late-request": _late,
    "cancel": _lasting("cancel", 0, 0),
    "abort": _lasting("abort", 0, 0),
    "terminate": _lasting("terminate", 0, 0, again=(True, False)),
    "reset": _lasting("reset", 0, 0, back=(0.2, 0.5, 0.8, 1.0)),
    "second-start": _lasting("second-start", 0, 0),
    "second-run": _lasting("second-run", 0, 0),
    "kubectl-annotate": _lasting("kubectl-annotate", 0, 0, what=("statefulset", "node", "pdb", "pod")),
    "kubectl-delete-pod": _lasting("kubectl-delete-pod", 0, 0),
    "kubectl-delete-utility-pod": _lasting("kubectl-delete-utility-pod", 0, 0),
    "kubectl-delete-pdb": _lasting("kubectl-delete-pdb", 0, 0),
    "kubectl-uncordon": _lasting("kubectl-uncordon", 0, 0),
    "kubectl-delete-record": _lasting("kubectl-delete-record", 0, 0),
    "kubectl-revert-edit": _early("kubectl-revert-edit"),
}
CRASHES = ("survivor-kill",)


def schedule_of(seed: int, *, crashes: bool = True) -> Schedule:
    """The schedule of a seed; without `crashes` no survivor is killed."""
    draw = _Draw(seed)
    kinds = [kind for kind in KINDS if crashes or kind not in CRASHES]
    damage = draw.one_of(DAMAGES)
    pod_management = draw.one_of(("OrderedReady", "Parallel"))
    request = _request(draw)
    faults = tuple(KINDS[kind](draw) for kind in draw.sample(kinds, draw.number(2, 5)))
    return Schedule(seed, draw.replica, damage, pod_management, request, faults)


def _request(draw: _Draw) -> Params:
    """What differs from the defaults."""
    choices: dict[str, tuple[Any, ...]] = {
        "pod_disruption_budget": (None, None, "keep"),
        "drain": (None, None, "replica"),
        "join_as": (None, None, "learner", "voter"),
        "failed_replica": (None, draw.replica),
    }
    drawn = {name: draw.one_of(values) for name, values in choices.items()}
    return {name: value for name, value in drawn.items() if value is not None}
