"""Runs seeds: `python -m tests.robustness.explorer --seeds 100`, or `--seed 7` to replay one.

Traffic, faults and judge do not know each other: here they meet.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import WorkflowAlreadyStartedError

from lab.binaries import distributed_etcd_folder, etcd_assets
from lab.nodes.tasks import cancelled
from lab.options import LabOptions
from tests.robustness.explorer.actors import actors
from tests.robustness.explorer.conclusion import AWAY, Conclusion, NoEnd, until_nothing_runs
from tests.robustness.explorer.schedule import Fault, Moment, Schedule, schedule_of
from tests.robustness.explorer.sight import Watcher, look, sightings
from tests.robustness.explorer.stage import Stage, stage_of
from tests.robustness.explorer.story import RunStory, removals
from tests.robustness.explorer.verdict import ending, verdict
from tests.robustness.judge import Look, Story

MOST_SECONDS_OF_FAULTS = 180.0
SETTLED_WITHIN = 45.0
AGAIN = 1.0
KEPT = Path(".explorer")
COULD_NOT = (*AWAY, WorkflowUpdateFailedError, WorkflowAlreadyStartedError)


async def explore(schedule: Schedule, options: LabOptions, etcd: str, directory: Path) -> RunStory:
    """One run, from an empty stage to the verdict."""
    began = time.monotonic()
    story = RunStory(schedule, etcd, lambda: time.monotonic() - began)
    wanted = options.model_copy(update={"pod_management": schedule.pod_management})
    try:
        async with stage_of(wanted, directory) as stage:
            began = time.monotonic()
            await _play(stage, schedule, story)
    except Exception as error:
        trace = "".join(traceback.format_exception(error)[-3:])
        story.findings.append(f"the run broke off: {trace}")
    finally:
        story.seconds = time.monotonic() - began
        story.keep(directory)
    return story


async def _play(stage: Stage, schedule: Schedule, story: RunStory) -> None:
    stage.replica, stage.request = schedule.replica, schedule.request
    await stage.lab.start_traffic(2)
    members = await stage.lab.members()
    pinned = next(member.id for member in members if member.name == schedule.replica)
    await stage.lab.destroy(schedule.replica, schedule.damage)
    evidence = await stage.lab.evidence()  # its member list is empty where the leader has just died
    before = await look(stage.kube, evidence.model_copy(update={"members": members}))
    watcher = Watcher(stage.lab, stage.kube, story.clock)
    watching = asyncio.create_task(watcher.watch())
    try:
        story.tell(f"started, run {await stage.start()}")
        await _carry_out(stage, schedule, story)
        await Conclusion(stage, story, pinned).reach()
        await stage.lab.stop_traffic()
        keeps = schedule.request.get("pod_disruption_budget") == "keep"
        story.findings = await _judge(stage, story, watcher, before, pinned, keeps)
    except NoEnd as no_end:
        story.findings.append(str(no_end))
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _carry_out(stage: Stage, schedule: Schedule, story: RunStory) -> None:
    """Every fault at its moment; what has not come when nothing runs any more does not come at all."""
    faults = [asyncio.create_task(_one(stage, story, *item)) for item in schedule.faults]
    acting = asyncio.create_task(asyncio.wait(faults))
    over = asyncio.create_task(until_nothing_runs(stage))
    try:
        await asyncio.wait(
            {acting, over}, timeout=MOST_SECONDS_OF_FAULTS, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        await cancelled(over, acting, *faults)
    for task in faults:
        if not task.cancelled():
            task.result()
    story.tell("every fault is lifted")


async def _one(stage: Stage, story: RunStory, moment: Moment, fault: Fault) -> None:
    await stage.reach(moment)
    story.acted(fault)
    try:
        became = await actors()[fault.kind](stage, fault)
    except COULD_NOT as error:
        became = f"could not: {type(error).__name__} {error}"
    story.became(fault, became)


async def _judge(
    stage: Stage, story: RunStory, watcher: Watcher, before: Look, pinned: str, keeps_budget: bool
) -> list[str]:
    """What is to come back may take a moment; what must never have happened is found all the same."""
    findings = [""]
    end = time.monotonic() + SETTLED_WITHIN
    while findings and time.monotonic() < end:
        evidence = await stage.lab.evidence()
        seen = Story(
            failed=stage.replica,
            pinned=pinned,
            before=before,
            after=await look(stage.kube, evidence),
            outcome=ending([member.id for member in evidence.members], pinned),
            removed=tuple(removals(stage.ear.commands)),
            sightings=sightings(evidence),
            acknowledged=frozenset(evidence.acknowledged),
            read={name: frozenset(keys) for name, keys in evidence.read.items()},
        )
        findings = verdict(seen, watcher.sight, story.excuses(), keeps_budget=keeps_budget)
        await asyncio.sleep(AGAIN if findings else 0)
    return findings


def main(words: list[str] | None = None) -> int:
    """Exit code 1 where a seed has found something."""
    wanted = _arguments(words)
    seeds = [wanted.seed] if wanted.seed is not None else range(wanted.first, wanted.first + wanted.seeds)
    stories = asyncio.run(_explore_all(seeds, wanted))
    outcomes = Counter(story.outcomes[-1] if story.outcomes else "none" for story in stories)
    faults = Counter(kind for story in stories for kind in story.done)
    failed = [story.schedule.seed for story in stories if not story.clean]
    _say(f"{len(stories) - len(failed)} of {len(stories)} seeds ran clean; outcomes: {dict(outcomes)}")
    _say(f"faults: {dict(faults.most_common())}")
    for seed in failed:
        _say(f"replay with: make explore SEED={seed}")
    return 1 if failed else 0


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="explorer", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument(
        "--etcd", type=Path, help="folder with etcd and etcdctl; none: by turns, what is there"
    )
    parser.add_argument("--kubernetes", choices=("simulated", "real"), default="simulated")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    parser.add_argument("--keep", type=Path, default=KEPT, help="where stories and logs of failures are kept")
    return parser.parse_args(words)


async def _explore_all(seeds: Iterable[int], wanted: argparse.Namespace) -> list[RunStory]:
    turns = asyncio.Semaphore(wanted.jobs)

    async def in_turn(seed: int) -> RunStory:
        async with turns:
            return await _explore_one(seed, wanted)

    return await asyncio.gather(*(in_turn(seed) for seed in seeds))


async def _explore_one(seed: int, wanted: argparse.Namespace) -> RunStory:
    etcd = wanted.etcd or _etcd_of(seed)
    oldest = etcd == distributed_etcd_folder()
    schedule = schedule_of(seed, crashes=not oldest)
    options = LabOptions(etcd=etcd, kubernetes=wanted.kubernetes)
    with tempfile.TemporaryDirectory(prefix="explorer-") as directory:
        story = await explore(schedule, options, "3.5.1" if oldest else etcd.name, Path(directory))
        _say(story.line())
        if not story.clean:
            _say(story.text())
            shutil.copytree(directory, wanted.keep / str(seed), dirs_exist_ok=True)
    return story


def _etcd_of(seed: int) -> Path:
    """The releases by turns; those of ETCD_ASSETS, else the one of the package."""
    folders = [folder for folder in etcd_assets() if not folder.name.startswith("3.4.")]
    return folders[seed % len(folders)] if folders else distributed_etcd_folder()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
