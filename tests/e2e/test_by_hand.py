"""Temporal is gone in the middle, and a person follows the words of the record, to the letter.

The words are read from the ConfigMap with kubectl and run as they stand (`replace_etcd.by_hand.shell`): nothing is
picked out of them, nothing is left out. A replacement is stopped behind one step, or before one command, by a worker
that carries out nothing more, so that the moment is the same on every machine; one worker is killed.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
import temporalio.client
from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from activities.step import TemporalIdentity, Toolbox
from lab.binaries import control_plane_folder
from lab.models import LabReport
from lab.options import LabOptions
from lab.runner import running_lab
from lab.temporal_server import running_temporal
from replace_etcd import temporal
from replace_etcd.cluster import CONFIG_MAP, AdminCluster, CommandResult
from replace_etcd.kubernetes_cluster import connect
from replace_etcd.models.phase import Phase
from replace_etcd.models.record import BY_HAND, Record
from replace_etcd.models.result import Outcome, ReplacementResult
from replace_etcd.settings import Settings
from tests.e2e.conftest import NAMESPACE, REAL, Scene, as_before, nothing_lost, scene_of, worker_of
from tests.e2e.test_never_worse import nothing_left_behind
from worker import build

pytestmark = [pytest.mark.needs("kubectl"), pytest.mark.timeout(900)]
SETTINGS = Settings(failure_probe_seconds=1, graceful_shutdown_seconds=0)
PATIENCE = 240.0
LEARNER = {"join_as": "learner"}
Kubernetes = Literal["simulated", "real"]
Meddling = Callable[[Scene], Awaitable[None]]


class Stop(temporalio.client.Interceptor, Interceptor):
    """A worker that carries out nothing more behind a step, or right before a command, as if it had been killed.

    With `before`, something happens in the world before a step begins.
    """

    def __init__(
        self, *, behind: str = "", command: str = "", before: tuple[str, Meddling] | None = None
    ) -> None:
        self.behind = behind
        self.command = command
        self.before = before
        self.reached = asyncio.Event()
        self.scene: Scene | None = None

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Stopping(next, self)

    async def here(self) -> None:
        """Go no further."""
        self.reached.set()
        await asyncio.Event().wait()


class _Stopping(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, stop: Stop) -> None:
        super().__init__(next)
        self._stop = stop

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        name = input.fn.__name__
        if self._stop.before and self._stop.before[0] == name:
            assert self._stop.scene is not None
            await self._stop.before[1](self._stop.scene)
        done = await super().execute_activity(input)
        if name == self._stop.behind:
            await self._stop.here()
        return done


class _StoppingCluster:
    """The cluster, but for one command that is never sent."""

    def __init__(self, cluster: AdminCluster, stop: Stop) -> None:
        self._cluster = cluster
        self._stop = stop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cluster, name)

    async def execute(
        self, namespace: str, pod: str, container: str, command: list[str], **limits: Any
    ) -> CommandResult:
        if self._stop.command and self._stop.command in " ".join(command):
            await self._stop.here()
        return await self._cluster.execute(namespace, pod, container, command, **limits)


@asynccontextmanager
async def stopped(
    stop: Stop,
    directory: Path,
    *,
    kubernetes: Kubernetes = "simulated",
    settings: Settings = SETTINGS,
    **request: Any,
) -> AsyncIterator[Scene]:
    """A lab in which a replacement has come as far as the stop; its worker and its Temporal are gone."""
    async with running_lab(LabOptions(kubernetes=kubernetes)) as lab:
        cluster = await connect(str(lab.kubeconfig), None)
        try:
            async with running_temporal(directory) as server:
                client = await Client.connect(
                    server.address, data_converter=pydantic_data_converter, interceptors=[stop]
                )
                scene = Scene(lab, client, cluster, worker_of(server, lab, directory, {}))
                await scene.destroy()
                await temporal.register_search_attributes(client)
                stop.scene = scene
                async with build(client, await _tools(client, _StoppingCluster(cluster, stop), settings)):
                    handle = await scene.start(**request)
                    await _until(stop.reached, handle)
                    await handle.terminate("gone")
            yield scene
        finally:
            await cluster.close()


async def _tools(client: Client, cluster: AdminCluster, settings: Settings) -> Toolbox:
    identity = TemporalIdentity(await temporal.cluster_id(client), client.namespace)
    runs = temporal.TemporalRuns(client, identity.cluster_id)
    return Toolbox(cluster, settings, identity, runs)


async def _until(reached: asyncio.Event, handle: WorkflowHandle[Any, ReplacementResult]) -> None:
    """Wait until the worker has stopped; a replacement that ends without it has failed this test."""
    waiting = asyncio.create_task(reached.wait())
    ended = asyncio.create_task(handle.result())
    await asyncio.wait({waiting, ended}, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE)
    waiting.cancel()
    if ended.done():
        await ended
    ended.cancel()
    assert reached.is_set()


async def record_of(scene: Scene) -> Record:
    config_map = await scene.cluster.get(CONFIG_MAP, SETTINGS.record, NAMESPACE)
    assert config_map is not None
    return Record.from_data(config_map["data"])


class Person:
    """Somebody with a terminal and kubectl, and nothing else."""

    def __init__(self, scene: Scene, home: Path) -> None:
        self._home = home
        self._environment = {
            "KUBECONFIG": str(scene.lab.kubeconfig),
            "PATH": f"{control_plane_folder()}:{os.environ['PATH']}",
            "HOME": str(home),
            "USER": "ann",
        }

    async def reads(self) -> str:
        """The words, by the command that they themselves name."""
        template = f'{{{{index .data "{BY_HAND}"}}}}'
        words = await self._run(
            *("kubectl", "-n", NAMESPACE, "get", "configmap", SETTINGS.record),
            *("-o", f"go-template={template}"),
        )
        assert template in words
        return words

    async def follows(self, words: str) -> str:
        """Run the words as they are; a step that fails ends it."""
        file = self._home / "by-hand.sh"
        file.write_text(words)
        return await self._run("sh", "-e", str(file))

    async def _run(self, *command: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._environment,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        except TimeoutError:
            process.kill()
            raise
        assert process.returncode == 0, output.decode()[-3000:]
        return output.decode()


def without_the_last_step(words: str) -> str:
    """As if the person had been interrupted before the record was deleted."""
    *steps, last = words.split("\n\n")
    assert "Delete the record" in last
    return "\n\n".join(steps) + "\n"


async def led_back(scene: Scene, person: Person) -> None:
    """Everything as it was before; the failed member still fails."""
    await person.follows(await person.reads())
    await nothing_left_behind(scene)
    report = await scene.judgement()
    nothing_lost(report)
    as_before(report)
    assert len(report.members) == 3


async def led_forward(scene: Scene, person: Person, old_member_id: str) -> None:
    """A healthy cluster of three voters, and everything as it was before."""
    await person.follows(await person.reads())
    await nothing_left_behind(scene)
    whole(await scene.judgement(), old_member_id)


def whole(report: LabReport, old_member_id: str) -> None:
    nothing_lost(report)
    as_before(report)
    assert len(report.members) == 3
    assert all(member.started and member.healthy and not member.learner for member in report.members)
    assert report.judgement.unread_members == []
    assert old_member_id not in {member.id for member in report.members}


@pytest.mark.parametrize(
    ("behind", "phase", "kubernetes"),
    [
        pytest.param("join_existing_on_delete", Phase.PROTECTING, "simulated"),
        pytest.param("wait_until_failed_pod_is_gone", Phase.DRAINING, "real", marks=REAL.marks),
        pytest.param("take_snapshot", Phase.SNAPSHOTTING, "simulated"),
    ],
)
async def test_before_the_removal_the_words_lead_back(
    behind: str, phase: Phase, kubernetes: Kubernetes, tmp_path: Path
) -> None:
    settings = SETTINGS.model_copy(update={"snapshot_dir": tmp_path})
    async with stopped(Stop(behind=behind), tmp_path, kubernetes=kubernetes, settings=settings) as scene:
        assert (await record_of(scene)).phase is phase
        await led_back(scene, Person(scene, tmp_path))


async def test_a_way_back_that_was_begun_is_gone_to_its_end(tmp_path: Path) -> None:
    """The words are followed twice: every step is harmless when it is repeated."""

    async def cancel(scene: Scene) -> None:
        await scene.client.get_workflow_handle(f"replace-etcd.{NAMESPACE}").cancel()

    stop = Stop(behind="restore_flag_and_strategy", before=("protect_survivors", cancel))
    async with stopped(stop, tmp_path) as scene:
        assert (await record_of(scene)).phase is Phase.ROLLING_BACK
        person = Person(scene, tmp_path)
        await person.follows(without_the_last_step(await person.reads()))
        await led_back(scene, person)


async def test_a_removal_that_was_never_sent_is_carried_out(tmp_path: Path) -> None:
    """Its record says `removing`, and the member is still there; the words are followed twice."""
    async with stopped(Stop(command="member remove"), tmp_path) as scene:
        record = await record_of(scene)
        assert record.phase is Phase.REMOVING
        assert record.member_id in {member.id for member in (await scene.lab.status()).members}
        person = Person(scene, tmp_path)
        await person.follows(without_the_last_step(await person.reads()))
        await led_forward(scene, person, record.member_id)


@pytest.mark.parametrize(
    ("stop", "phase", "kubernetes", "request_fields"),
    [
        pytest.param(
            *(Stop(behind="clean_data_directory"), Phase.CLEANING, "real", {}),
            marks=REAL.marks,
            id="cleaning",
        ),
        pytest.param(Stop(behind="add_member"), Phase.ADDING, "simulated", {}, id="adding"),
        pytest.param(Stop(command="member promote"), Phase.REJOINING, "simulated", LEARNER, id="rejoining"),
        pytest.param(
            *(Stop(behind="restore_initial_cluster_state"), Phase.RESTORING, "simulated", {}), id="restoring"
        ),
        pytest.param(Stop(behind="verify_replacement"), Phase.VERIFYING, "simulated", {}, id="verifying"),
    ],
)
async def test_after_the_removal_the_words_lead_to_three_voters(
    stop: Stop, phase: Phase, kubernetes: Kubernetes, request_fields: dict[str, Any], tmp_path: Path
) -> None:
    async with stopped(stop, tmp_path, kubernetes=kubernetes, **request_fields) as scene:
        record = await record_of(scene)
        assert record.phase is phase
        await led_forward(scene, Person(scene, tmp_path), record.member_id)


@pytest.mark.parametrize(
    ("behind", "outcome"),
    [("note_hold", None), ("close_replacement_record", Outcome.LEFT_INCOMPLETE)],
)
async def test_a_replacement_that_rests_is_gone_on_with(
    behind: str, outcome: Outcome | None, tmp_path: Path
) -> None:
    """Its new member never started, since the node's agent was dead; it is alive again when the person comes."""

    async def end_the_agent(scene: Scene) -> None:
        await scene.lab.set_agent("node-2", running=False)

    limits = {"rejoin": "PT4S", "hold": "PT1S"}
    stop = Stop(behind=behind, before=("uncordon_node", end_the_agent))
    async with stopped(stop, tmp_path, limits=limits) as scene:
        record = await record_of(scene)
        assert (record.phase, record.furthest) == (Phase.HELD, Phase.REJOINING)
        assert record.outcome is outcome
        await scene.lab.set_agent("node-2", running=True)
        await led_forward(scene, Person(scene, tmp_path), record.member_id)


async def test_a_person_takes_over_from_a_worker_that_was_killed(tmp_path: Path) -> None:
    """In the middle of the restart of the replaced pod."""
    async with scene_of(LabOptions(), tmp_path) as scene:
        await scene.destroy()
        handle = await scene.start()
        await scene.reach(handle, "restart_replaced_pod")
        await scene.worker.kill()
        record = await record_of(scene)
        await led_forward(scene, Person(scene, tmp_path), record.member_id)
