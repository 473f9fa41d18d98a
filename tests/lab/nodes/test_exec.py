"""Exec, as a client sees it: the Status on channel 3 is the only sign of a finished command."""

from __future__ import annotations

import aiohttp
import pytest

from tests.lab.nodes import pods
from tests.lab.nodes.waiting import until
from tests.lab.remote_exec import STATUS, V4, V5, execute, read, session
from tests.lab.world import World

pytestmark = [pytest.mark.timeout(120), pytest.mark.needs("namespaces")]


@pytest.mark.parametrize("protocol", [V4, V5])
async def test_output_and_exit_code_come_through(world: World, protocol: str) -> None:
    """Both outputs, and the exit code in the causes of the Status."""
    await pods.start(world)
    script = "echo out; echo err >&2; exit 3"
    result = await execute(world.client, world.namespace, "p", "sh", "-c", script, protocol=protocol)
    assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 3)
    assert result.status is not None
    assert result.status["reason"] == "NonZeroExitCode"


async def test_success_is_a_status_too(world: World) -> None:
    """Without it the end of the stream would mean nothing."""
    await pods.start(world)
    result = await execute(world.client, world.namespace, "p", "true")
    assert result.status == {"metadata": {}, "status": "Success"}


async def test_a_missing_binary_has_no_exit_code(world: World) -> None:
    """InternalError without the cause ExitCode: nothing ran."""
    await pods.start(world)
    result = await execute(world.client, world.namespace, "p", "no-such-program")
    assert result.exit_code is None
    assert result.status is not None
    assert result.status["reason"] == "InternalError"
    assert "no-such-program" in result.status["message"]


async def test_a_command_that_says_127_did_run(world: World) -> None:
    """A shell's own 127 is an exit code, and not a missing binary."""
    await pods.start(world)
    assert (await execute(world.client, world.namespace, "p", "sh", "-c", "exit 127")).exit_code == 127


async def test_a_container_that_ends_takes_its_execs_along(world: World) -> None:
    """Exit code 137: the kernel kills everything in the container's PID namespace."""
    await pods.start(world)
    async with session(world.client, world.namespace, "p", "sh", "-c", "kill -TERM 1; sleep 60") as socket:
        assert (await read(socket)).exit_code == 137


async def test_a_command_goes_on_when_the_connection_drops(world: World) -> None:
    """Its outcome is unknown to the client; whoever wants to know must look."""
    await pods.start(world)
    script = "echo started; read line </tmp/pipe; echo $line >/tmp/done"
    await execute(world.client, world.namespace, "p", "mkfifo", "/tmp/pipe")  # noqa: S108
    async with session(world.client, world.namespace, "p", "sh", "-c", script) as socket:
        while b"started" not in (await socket.receive_bytes()):
            continue
    await execute(world.client, world.namespace, "p", "sh", "-c", "echo yes >/tmp/pipe")

    async def done() -> bool:
        return (await execute(world.client, world.namespace, "p", "cat", "/tmp/done")).stdout == "yes\n"  # noqa: S108

    await until(done)


async def test_standard_input_is_passed_on_and_closed(world: World) -> None:
    """In v5 a message on channel 255 closes a stream."""
    await pods.start(world)
    result = await execute(world.client, world.namespace, "p", "cat", protocol=V5, feed=b"some text")
    assert (result.stdout, result.exit_code) == ("some text", 0)


async def test_much_output_arrives_whole_and_before_the_status(world: World) -> None:
    """A snapshot is streamed this way."""
    await pods.start(world)
    result = await execute(world.client, world.namespace, "p", "head", "-c", "3000000", "/dev/zero")
    assert (len(result.stdout), result.exit_code) == (3_000_000, 0)


@pytest.mark.parametrize(("pod", "container", "code"), [("none", "main", 404), ("p", "none", 400)])
async def test_the_handshake_fails_where_there_is_nothing(
    world: World, pod: str, container: str, code: int
) -> None:
    """404 for a pod, 400 for a container that does not exist: the command definitely never started."""
    await pods.start(world)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        await execute(world.client, world.namespace, pod, "true", container=container)
    assert refusal.value.status == code


async def test_between_two_runs_of_a_container_the_handshake_fails(world: World) -> None:
    """500: to be tried again, the container will come back."""
    await pods.create(world, command=pods.shell("exit 1"))
    await world.until(lambda pod: pods.restarts(pod) >= 2, "pods", "p")
    await world.until(lambda pod: pods.waiting_reason(pod) == "CrashLoopBackOff", "pods", "p")
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        await execute(world.client, world.namespace, "p", "true")
    assert refusal.value.status == 500


async def test_the_status_is_the_last_message(world: World) -> None:
    """Nothing follows it, whatever the close code says."""
    await pods.start(world)
    async with session(world.client, world.namespace, "p", "echo", "x") as socket:
        channels = [message.data[0] async for message in socket]
    assert channels[-1] == STATUS


async def test_a_shell_for_a_person_has_a_terminal(world: World) -> None:
    """`kubectl exec -it`: the command sees a terminal, and typed input is echoed."""
    await pods.start(world)
    script = "test -t 0 && test -t 1 && read word && echo got $word"
    async with session(
        world.client, world.namespace, "p", "sh", "-c", script, stdin=True, tty=True
    ) as socket:
        await socket.send_bytes(b"\0hello\n")
        result = await read(socket)
    assert "got hello" in result.stdout
    assert result.exit_code == 0
