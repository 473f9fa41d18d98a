"""Where Debian's etcd is not to be had, `.ci/run` goes on and says so. Here `make` only prints what it is given."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / ".ci" / "run"
MAKE = 'ls "$ETCD_ASSETS"; echo "== 7 passed in 0.10s =="; echo a plugin says goodbye'
DOWNLOADED = "touch etcd.deb"
UNPACKED = """mkdir -p "$3/usr/bin"
printf '#!/bin/sh\\necho etcd Version: 3.4.23\\n' >"$3/usr/bin/etcd"
chmod +x "$3/usr/bin/etcd"
"""
AT_ONCE = f'exec {shutil.which("timeout")} --kill-after=0.1 0.1 "${{@:3}}"'
STUBBORN = "trap '' TERM; while true; do sleep 0.1; done"


def run(directory: Path, **scripts: str) -> subprocess.CompletedProcess[str]:
    """A copy of it in a checkout of its own, with these programs before all others."""
    copy, programs = directory / "checkout" / ".ci" / "run", directory / "programs"
    copy.parent.mkdir(parents=True)
    programs.mkdir()
    shutil.copy(RUN, copy)
    for name, script in {"make": MAKE, **scripts}.items():
        program = programs / name.replace("_", "-")
        program.write_text(f"#!/usr/bin/env bash\n{script}\n")
        program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    return subprocess.run([copy], env=environment, capture_output=True, text=True, timeout=30, check=False)


def beside(directory: Path, release: str) -> Path:
    """A release of etcd that lies beside the checkout."""
    folder = directory / "shared" / "etcd" / release
    folder.mkdir(parents=True)
    (folder / "etcd").touch(mode=0o755)
    return folder


@pytest.mark.parametrize(
    ("scripts", "said"),
    [
        ({"apt_get": "echo E: no such package >&2; exit 100"}, "within a minute: E: no such package\n"),
        ({"apt_get": STUBBORN, "timeout": AT_ONCE}, "within a minute: \n"),
        ({"apt_get": DOWNLOADED, "dpkg": "echo no archive >&2; exit 2"}, "No such file or directory\n"),
    ],
    ids=["apt-get fails", "apt-get hangs", "dpkg fails"],
)
def test_without_debians_etcd_the_run_goes_on_and_says_so(
    tmp_path: Path, scripts: dict[str, str], said: str
) -> None:
    beside(tmp_path, "3.5.35")
    done = run(tmp_path, **scripts)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "3.5.35"
    assert done.stdout.splitlines()[-1] == "== 7 passed in 0.10s =="
    assert "going on without Debian's etcd, which was not to be had" in done.stderr
    assert done.stderr.endswith(said)


def test_debians_etcd_stands_beside_the_others(tmp_path: Path) -> None:
    beside(tmp_path, "3.5.35")
    done = run(tmp_path, apt_get=DOWNLOADED, dpkg=UNPACKED)
    assert done.stdout.splitlines()[:2] == ["3.4.23", "3.5.35"]
    assert done.stderr == ""


def test_what_lies_beside_the_checkout_stays_as_it_is(tmp_path: Path) -> None:
    """The same release may be there already."""
    folder = beside(tmp_path, "3.4.23")
    run(tmp_path, apt_get=DOWNLOADED, dpkg=UNPACKED)
    assert [path.name for path in folder.iterdir()] == ["etcd"]
