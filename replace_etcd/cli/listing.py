"""What `list` does: replacements as Temporal's visibility store knows them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rich.console import Console
from temporalio.common import SearchAttributeKey

from replace_etcd import replacements
from replace_etcd import search_attributes as attributes
from replace_etcd.answers import REPLACEMENT_PREFIX
from replace_etcd.cli import runs, showing
from replace_etcd.cli.commands import print_json
from replace_etcd.cli.exits import CliError, Exit

INTERRUPTED = "interrupted"
SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True)
class Wanted:
    """Which replacements are asked for."""

    user_cluster: str | None = None
    replica: str | None = None
    incident: str | None = None
    requested_by: str | None = None
    outcome: str | None = None
    running: bool = False
    closed: bool = False
    since: str | None = None
    plans: bool = True


async def list_them(wanted: Wanted, limit: int, *, as_json: bool) -> int:
    """Ask Temporal, and show them, the newest first."""
    query = query_of(wanted, datetime.now(UTC))
    async with runs.connected() as client:
        found = [item async for item in client.list_workflows(query, limit=limit)]
    if as_json:
        print_json([showing.listed(item) for item in found])
    else:
        showing.print_list(Console(highlight=False), found, filtered=wanted != Wanted())
    return Exit.OK


def query_of(wanted: Wanted, now: datetime) -> str:
    """The list filter (https://docs.temporal.io/list-filter)."""
    keys: list[tuple[SearchAttributeKey[str], str | None]] = [
        (attributes.USER_CLUSTER, wanted.user_cluster),
        (attributes.FAILED_REPLICA, wanted.replica),
        (attributes.INCIDENT, wanted.incident),
        (attributes.REQUESTED_BY, wanted.requested_by),
        (attributes.OUTCOME, None if wanted.outcome == INTERRUPTED else wanted.outcome),
    ]
    terms = [f"WorkflowType = '{replacements.WORKFLOW}'"]
    terms += [f"{key.name} = {_literal(value)}" for key, value in keys if value is not None]
    if wanted.outcome == INTERRUPTED:  # ended from outside: it could not say so itself
        terms.append("ExecutionStatus IN ('Terminated', 'TimedOut')")
    if wanted.running != wanted.closed:
        terms.append(f"ExecutionStatus {'=' if wanted.running else '!='} 'Running'")
    if wanted.since is not None:
        terms.append(f"StartTime > '{(now - _duration(wanted.since)).isoformat()}'")
    if not wanted.plans:
        terms.append(f"WorkflowId STARTS_WITH '{REPLACEMENT_PREFIX}'")
    return " AND ".join(terms)


def _literal(value: str) -> str:
    """A value is data: a quote in it must not end the literal.

    Temporal 1.32 finds nothing for a value with a backslash or a double quote in it, however it is written.
    """
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _duration(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,5})([mhdw])", text)
    if found is None:
        raise CliError(f"--since: a time such as 30m, 12h, 7d or 2w is expected, not {text!r}")
    return timedelta(seconds=int(found[1]) * SECONDS[found[2]])
