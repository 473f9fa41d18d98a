"""A command ends in order, whatever ends it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import pytest
import typer

from replace_etcd.cli import running
from replace_etcd.cli.exits import CliError, Exit


def exit_code(work: object) -> int:
    with pytest.raises(typer.Exit) as ended:
        running.run(work)  # type: ignore[arg-type]
    return int(ended.value.exit_code)


def test_the_exit_code_is_what_the_work_returns() -> None:
    async def work() -> int:
        return Exit.ROLLED_BACK

    assert exit_code(work()) == 4


def test_an_error_is_a_sentence_and_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    async def work() -> int:
        raise CliError("the lab [red] is closed; come back tomorrow", Exit.REFUSED)

    assert exit_code(work()) == 3
    assert capsys.readouterr().err == "replace-etcd: the lab [red] is closed; come back tomorrow\n"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_lets_the_work_clean_up_undisturbed(
    capsys: pytest.CaptureFixture[str], number: signal.Signals, code: int
) -> None:
    cleaned: list[str] = []

    async def work() -> int:
        os.kill(os.getpid(), number)
        try:
            await asyncio.Event().wait()
        finally:
            os.kill(os.getpid(), number)  # impatience
            for _ in range(3):
                await asyncio.sleep(0)
            cleaned.append("everything")
        return 0

    assert exit_code(work()) == code
    assert cleaned == ["everything"]
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "replace-etcd: interrupted"
    assert said[1].startswith("replace-etcd: still ending in order; once more ends at once")


def test_work_that_ends_well_after_a_signal_keeps_its_code() -> None:
    async def work() -> int:
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return 0
        return 1

    assert exit_code(work()) == 0


def test_the_third_signal_ends_at_once() -> None:
    program = """
import asyncio, os, signal
from replace_etcd.cli import running

async def work() -> int:
    for _ in range(3):
        os.kill(os.getpid(), signal.SIGINT)
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            print("never ends", flush=True)

running.run(work())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=30, check=False)
    assert ended.returncode == 130
