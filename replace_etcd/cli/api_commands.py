"""What `api` does; apart from its options, since this part loads the web framework."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from replace_etcd import logs, temporal
from replace_etcd.api import tokens
from replace_etcd.api.settings import ApiSettings
from replace_etcd.cli.exits import Exit, complain
from replace_etcd.settings import Settings

PREFIX = "REPLACE_ETCD_API_"


def serve(listen: str | None) -> int:
    """Serve until told to end."""
    try:
        from replace_etcd.api import serve as server  # noqa: PLC0415 - the extra may not be installed
    except ModuleNotFoundError as error:
        complain(f"the API needs {error.name}: install replace-etcd[api]")
        return Exit.BAD_INPUT
    try:
        settings, shared = _settings(listen)
        logs.configure(shared.log_format)
        asyncio.run(server.serve(settings, shared.audit, shared.task_queue))
    except (ValueError, temporal.NotReady, server.CannotServe) as error:
        complain(str(error))
        return Exit.BAD_INPUT
    return Exit.OK


def _settings(listen: str | None) -> tuple[ApiSettings, Settings]:
    """ValueError with one sentence for each that is wrong."""
    try:
        given = {"listen": listen} if listen else {}
        return ApiSettings(**given), Settings()  # type: ignore[arg-type]
    except ValidationError as error:
        prefix = PREFIX if error.title == ApiSettings.__name__ else "REPLACE_ETCD_"
        raise ValueError("; ".join(_wrong(problem, prefix) for problem in error.errors())) from None


def _wrong(problem: object, prefix: str) -> str:
    location, message = problem["loc"], problem["msg"].removeprefix("Value error, ")  # type: ignore[index]
    return f"{prefix}{str(location[0]).upper()}: {message}" if location else message


def token(name: str, roles: Sequence[str], file: Path | None) -> int:
    """Make a token; what is printed is nowhere else."""
    place = file or Path(
        os.environ.get(f"{PREFIX}TOKENS_FILE") or ApiSettings.model_fields["tokens_file"].default
    )
    try:
        secret, kept = tokens.new_token(name, roles)
        tokens.add(place, kept)
    except tokens.BadTokens as error:
        complain(str(error))
        return Exit.BAD_INPUT
    complain(
        f"the hash of this token is in {place} as {kept.name} ({', '.join(sorted(kept.roles))}); it is shown once"
    )
    print(secret)  # noqa: T201 - alone on standard output, so that a script can take it
    return Exit.OK
