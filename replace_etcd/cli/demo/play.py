"""The demo's plot: write, destroy, replace, judge."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from lab.fixture.names import REPLICAS, USER_CLUSTER
from lab.models import LabReport
from replace_etcd import replacements
from replace_etcd.cli import requests, runs
from replace_etcd.cli.demo import report
from replace_etcd.cli.demo.stage import Stage, staged
from replace_etcd.cli.exits import CliError, Exit
from replace_etcd.cli.follow import follow
from replace_etcd.cli.lab_commands import lab_errors, lab_options
from replace_etcd.cli.options import DrainModeName, FaultName, LabChoice, PdbModeName
from replace_etcd.cli.views import Narrator, ProgressView
from replace_etcd.models.request import ReplacementRequest

LEADER = "leader"


@dataclass(frozen=True)
class Scene:
    """What the demo was asked to show."""

    replica: str
    fault: FaultName
    lab: LabChoice
    pdb: PdbModeName | None
    drain: DrainModeName | None
    keep: bool
    json_file: Path | None


async def play(scene: Scene) -> int:
    """Play it; the exit code is 0 only if everything held."""
    _check(scene)
    options, task_queue = lab_options(scene.lab), runs.task_queue()
    narrator = Narrator(Console(highlight=False))
    narrator.say(f"starting Temporal and a lab ({options.kubernetes} control plane)")
    async with lab_errors(), runs.temporal_errors(), staged(options, task_queue, narrator) as stage:
        failed = await _destroy(scene, stage, narrator)
        code = await _replace(failed, scene, stage, narrator)
        if scene.keep:
            narrator.console.print(how_to_look(stage), markup=False, soft_wrap=True)
            await asyncio.Event().wait()
    return code


def _check(scene: Scene) -> None:
    """What can be known to be wrong before anything is started."""
    if scene.replica not in (*REPLICAS, LEADER):
        raise CliError(f"--replica: there is no {scene.replica}; it is {', '.join(REPLICAS)} or {LEADER}")
    file = scene.json_file
    if file is not None and (file.is_dir() or not file.absolute().parent.is_dir()):
        raise CliError(f"--json: {file} cannot be written; name a file in a folder that exists")


async def _destroy(scene: Scene, stage: Stage, narrator: Narrator) -> str:
    await stage.lab.start_traffic()
    narrator.say("writing to etcd without a pause")
    name, _ = await asyncio.gather(
        stage.lab.destroy(scene.replica, scene.fault), stage.while_worker_lives(stage.until_worker_polls())
    )
    leading = " (the leader)" if scene.replica == LEADER else ""
    narrator.say(f"{name}{leading} is destroyed: {scene.fault}")
    return name


async def _replace(failed: str, scene: Scene, stage: Stage, narrator: Narrator) -> int:
    request = requests.build_request(
        {"requested_by": "replace-etcd demo", "reason": f"demo: {scene.fault}"},
        {
            "user_cluster": USER_CLUSTER,
            "failed_replica": failed,
            "pod_disruption_budget": scene.pdb,
            "drain": scene.drain,
        },
    )
    run, ending = await _run(request, stage, narrator)
    await stage.lab.stop_traffic()
    described = await run.describe()
    lab = await stage.lab.report()
    closed = described.close_time or described.start_time
    written = report.build(
        outcome=ending.outcome,
        workflow_id=run.id,
        run_id=described.run_id,
        seconds=(closed - described.start_time).total_seconds(),
        steps=ending.result.steps if ending.result else [],
        lab=lab,
    )
    if scene.json_file is not None:
        scene.json_file.write_text(written.model_dump_json(indent=2) + "\n")
    return judge(ending, written, lab, narrator.console)


async def _run(
    request: ReplacementRequest, stage: Stage, narrator: Narrator
) -> tuple[replacements.Handle, replacements.Ending]:
    run = await runs.start(stage.client, request, stage.task_queue)
    page = f"namespaces/{stage.client.namespace}/workflows/{run.id}/{run.run_id}/history"
    narrator.say(f"started {run.id}: {stage.temporal.ui}/{page}")
    with ProgressView(narrator) as view:
        return run, await stage.while_worker_lives(follow(run, view))


def judge(ending: replacements.Ending, written: report.DemoReport, lab: LabReport, console: Console) -> int:
    """Print the report and everything that does not hold; the exit code."""
    console.print()
    for what, how in report.lines(written, lab):
        console.print(f"  {what:<20} {how}", markup=False, soft_wrap=True)
    console.print()
    failures = report.failures(ending.outcome, lab)
    for sentence in [*([ending.reason] if ending.reason else []), *failures]:
        console.print(f"[red]failed:[/] {escape(sentence)}", soft_wrap=True)
    if failures:
        return runs.exit_code(ending) or Exit.FAILED
    console.print("[green]Replaced; no write lost, no healthy member restarted, everything as before.[/]")
    return Exit.OK


def how_to_look(stage: Stage) -> str:
    """What to type in another terminal while all of it runs on."""
    directory = stage.lab.layout.directory
    return "\n".join(
        (
            "",
            "Everything runs on until Ctrl-C. Look at it:",
            f"  Web UI: {stage.temporal.ui}",
            f"  export TEMPORAL_ADDRESS={stage.temporal.address}",
            f"  {_program('temporal')} workflow show --workflow-id {replacements.workflow_id_of(USER_CLUSTER)}",
            f"  {_program('replace-etcd')} status {USER_CLUSTER}",
            f"  export KUBECONFIG={shlex.quote(str(stage.lab.kubeconfig))}",
            f"  kubectl -n {USER_CLUSTER} get pods -o wide",
            f"  {_program('replace-etcd')} lab status --dir {shlex.quote(str(directory))}",
            f"  tail -f {shlex.quote(str(stage.worker.log))}",
        )
    )


def _program(name: str) -> str:
    """The name where a shell finds it, else the path: the virtual environment is not on everybody's PATH."""
    return name if shutil.which(name) else str(Path(sys.executable).with_name(name))
