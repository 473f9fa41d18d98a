"""The ways to replace a member: each is walked once on a lab of its own, with a writer that never stops."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import audit, windows
from benchmarks.models import Span, Walk
from benchmarks.noop import seconds_of_one
from benchmarks.witness import Witness
from lab.binaries import control_plane_folder
from lab.client import LabClient
from lab.fixture.names import NAMESPACE, REPLICAS, USER_CLUSTER, node_of
from lab.models import Fault
from lab.options import LabOptions
from lab.runner import running_lab
from replace_etcd import replacements
from replace_etcd.cli.demo.stage import Stage, staged
from replace_etcd.cli.views import Narrator
from replace_etcd.models.request import ReplacementRequest

SCRIPT = Path(__file__).with_name("runbook.sh")
TASK_QUEUE = "benchmarks"
BY_HAND, PRODUCT = "kubectl", "openapi-generator"
FAILURE_IS_SEEN_WITHIN = 30.0
RESTS = 5.0
"""After the end one looks for so long whether three voters come back all the same."""
LOOK_EVERY = 0.1
PROBING = ("preflight", "evict_failed_pod")
"""Steps before the eviction that ask the failed member once more; the step that watches it is a wait as a whole."""
MODES: dict[str, dict[str, Any]] = {"c": {}, "d": {"pod_disruption_budget": "keep", "drain": "replica"}}


@dataclass(frozen=True)
class Case:
    """What all ways have in common."""

    options: LabOptions
    replica: str
    fault: Fault
    scratch: Path

    @property
    def audit_log(self) -> Path:
        """Where the API server of this walk writes."""
        assert self.options.audit_log is not None  # noqa: S101 - `of` names one
        return self.options.audit_log

    def of(self, name: str) -> Case:
        """The same with a folder of its own."""
        scratch = self.scratch / name
        scratch.mkdir()
        options = self.options.model_copy(update={"audit_log": scratch / "audit.log"})
        return Case(options, self.replica, self.fault, scratch)


@dataclass
class Done:
    """How a way ended, as far as itself knows."""

    outcome: str
    steps: list[tuple[str, float, float]]
    history_bytes: int | None = None
    history_events: int | None = None
    activities: int | None = None


async def by_hand(case: Case, *, complete: bool) -> Walk:
    """The runbook, by kubectl."""
    async with running_lab(case.options, case.scratch / "lab") as lab:

        async def walk() -> Done:
            return await _script(case, lab, complete=complete)

        return await _watched("b" if complete else "a", case, lab, BY_HAND, walk)


async def by_product(case: Case, way: str) -> tuple[Walk, float]:
    """This product; and what an activity that does nothing costs on the same server."""
    async with _stage(case) as stage:

        async def walk() -> Done:
            return await _workflow(case, stage, MODES[way])

        walked = await _watched(way, case, stage.lab, PRODUCT, walk)
        return walked, await seconds_of_one(stage.client)


@asynccontextmanager
async def _stage(case: Case) -> AsyncIterator[Stage]:
    silent = Narrator(Console(quiet=True))
    async with staged(case.options, TASK_QUEUE, silent) as stage:
        await stage.until_worker_polls()
        yield stage


async def _watched(
    way: str, case: Case, lab: LabClient, agent: str, walk: Callable[[], Awaitable[Done]]
) -> Walk:
    """Break the member, write, walk, and put together what was seen."""
    failed_id = next(member.id for member in await lab.members() if member.name == case.replica)
    await lab.destroy(case.replica, case.fault)
    await _until_failure_is_seen(lab, case.replica)
    async with Witness(lab) as witness:
        await lab.start_traffic()
        begin = time.time()
        done = await walk()
        end = time.time()
        whole = await _rest(witness, failed_id, begin)
    await lab.stop_traffic()
    report, seen = await lab.report(), witness.seen
    asked = audit.requests(case.audit_log, agent, begin, end)
    intolerant, never = windows.without_tolerance(seen.members, failed_id, begin, whole)
    utility = f"etcd-utility-{case.replica.rpartition('-')[2]}"
    survivors = set(REPLICAS) - {case.replica}
    waits = windows.waits(seen, case.replica, utility, node_of(case.replica))
    for name, first, last in done.steps:
        if name in PROBING:
            waits[f"the failed member's silent endpoint, in `{name}`"] = audit.silent_probes(
                asked, case.replica, first, last
            )
    return Walk(
        way=way,
        seconds=round(end - begin, 3),
        kubernetes=report.kubernetes,
        etcd=report.etcd,
        steps=[Span(name=n, begin=round(b - begin, 3), end=round(e - begin, 3)) for n, b, e in done.steps],
        outcome=done.outcome,
        write_gap=report.traffic.longest_gap_seconds,
        failed_writes=sum(report.traffic.not_acknowledged_by.get(name, 0) for name in survivors),
        lost_writes=report.judgement.lost_writes,
        restarts=report.judgement.survivor_restarts,
        without_budget=windows.without_budget(seen.budget, begin, end),
        without_tolerance=intolerant,
        never_tolerant=never,
        requests=len(asked),
        requests_by_verb=audit.by_verb(asked),
        history_bytes=done.history_bytes,
        history_events=done.history_events,
        activities=done.activities,
        waits=waits | audit.refused_additions(asked),
    )


async def _until_failure_is_seen(lab: LabClient, replica: str) -> None:
    """Until the others have a leader, and the API shows that the pod is not Ready."""
    async with asyncio.timeout(FAILURE_IS_SEEN_WITHIN):
        while True:
            status = await lab.status()
            ready = {pod.name for pod in status.pods if pod.ready}
            if status.leader not in (None, replica) and replica not in ready:
                return
            await asyncio.sleep(LOOK_EVERY)


async def _rest(witness: Witness, failed_id: str, begin: float) -> float:
    """Wait until three voters are started, or for some seconds; returns when one stopped looking."""
    until = time.time() + RESTS
    while time.time() < until:
        spans, never = windows.without_tolerance(witness.seen.members, failed_id, begin, time.time())
        if spans and not never:
            break
        await asyncio.sleep(LOOK_EVERY)
    return time.time()


async def _script(case: Case, lab: LabClient, *, complete: bool) -> Done:
    survivor = next(name for name in REPLICAS if name != case.replica)
    words = [NAMESPACE, case.replica, node_of(case.replica), survivor, str(case.scratch)]
    path = f"{control_plane_folder()}:{os.environ['PATH']}"
    environment = {"KUBECONFIG": str(lab.kubeconfig), "PATH": path, "HOME": str(case.scratch)}
    with (case.scratch / "runbook.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            str(SCRIPT),
            *words,
            *(["complete"] if complete else []),
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
    return Done("done" if code == 0 else f"exit code {code}", _typed(case.scratch / "steps"))


def _typed(file: Path) -> list[tuple[str, float, float]]:
    """Each step lasts until the next one begins; the last line says when everything was done."""
    lines = [line.split(" ", 1) for line in file.read_text().splitlines()]
    begun = [(name, float(moment)) for moment, name in lines]
    return [(name, at, begun[number + 1][1]) for number, (name, at) in enumerate(begun[:-1])]


async def _workflow(case: Case, stage: Stage, mode: dict[str, Any]) -> Done:
    request = ReplacementRequest.model_validate(
        {"user_cluster": USER_CLUSTER, "failed_replica": case.replica, **mode}
    )
    run = await replacements.start(stage.client, request, stage.task_queue)
    ending = await stage.while_worker_lives(replacements.ending(run))
    described = await run.describe()
    info = described.raw_description.workflow_execution_info
    steps = ending.result.steps if ending.result else []
    return Done(
        outcome=f"{ending.outcome}",
        steps=[(step.name, step.started_at.timestamp(), step.finished_at.timestamp()) for step in steps],
        history_bytes=info.history_size_bytes,
        history_events=info.history_length,
        activities=len(steps),
    )
