"""What the shell completes: user clusters that have, or had, a replacement, as Temporal knows them.

A completion must never be in the way: where Temporal does not answer within a moment there is none.
"""

from __future__ import annotations

import contextlib
import os

WITHIN_SECONDS = 1.5


def user_clusters(incomplete: str) -> list[str]:
    """User clusters, those of the newest replacements first."""
    return _known(incomplete, "")


def running(incomplete: str) -> list[str]:
    """User clusters whose replacement runs: the only ones that can be answered."""
    return _known(incomplete, " AND ExecutionStatus = 'Running'")


def _known(incomplete: str, condition: str) -> list[str]:
    found: list[str] = []
    with (
        contextlib.suppress(Exception),
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stderr(nowhere),
    ):
        import asyncio  # noqa: PLC0415 - so that --help answers at once

        from replace_etcd.cli import completing  # noqa: PLC0415

        found = asyncio.run(asyncio.wait_for(completing.user_clusters(condition), WITHIN_SECONDS))
    return [name for name in found if name.startswith(incomplete)]
