"""Which run a request of the API's has started: Temporal forgets that when the run has closed, the store does not.

A key is claimed before the start, so that of two API processes one starts; the run is written down after it. A claim
whose process died before that may be taken over once it is old, and one that was given up at once.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Row, delete, insert, select, update

from replace_etcd.audit.schema import keys, one_at_a_time

CLAIM_LASTS = timedelta(seconds=60)
GIVEN_UP = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class Remembered:
    """A key, and the run that it has started; `run_id` is None while its start is under way.

    `is_ours` is said to the one caller that has to start it, under this very `workflow_id`; where the claim is
    `taken_over` an earlier caller may have started it.
    """

    key: str
    token_name: str
    request_digest: str
    workflow_id: str
    run_id: str | None
    claimed_at: datetime
    is_ours: bool = False
    taken_over: bool = False


class KeyConflict(Exception):
    """The key was used before, for another request or by another token."""


def recall(connection: Connection, key: str) -> Remembered | None:
    """What is known of a key."""
    row = connection.execute(select(keys).where(keys.c.key == key)).one_or_none()
    return None if row is None else _remembered(row)


def claim(
    connection: Connection, key: str, token_name: str, request_digest: str, workflow_id: str
) -> Remembered:
    """Have the right to start the run of this key, or learn which run it has started."""
    one_at_a_time(connection)
    now = datetime.now(UTC)
    found = recall(connection, key)
    if found is None:
        values = {
            "key": key,
            "token_name": token_name,
            "request_digest": request_digest,
            "workflow_id": workflow_id,
            "claimed_at": now.isoformat(),
        }
        connection.execute(insert(keys).values(**values))
        return Remembered(key, token_name, request_digest, workflow_id, None, now, is_ours=True)
    if (found.token_name, found.request_digest) != (token_name, request_digest):
        raise KeyConflict(f"the key {key} was used before, for another request: send a new key")
    if found.run_id is None and now - found.claimed_at > CLAIM_LASTS:
        connection.execute(update(keys).where(keys.c.key == key).values(claimed_at=now.isoformat()))
        return replace(found, claimed_at=now, is_ours=True, taken_over=True)
    return found


def remember(
    connection: Connection, *, key: str, token_name: str, request_digest: str, workflow_id: str, run_id: str
) -> Remembered:
    """Write down which run a key has started; the first run that is written down stays."""
    found = claim(connection, key, token_name, request_digest, workflow_id)
    if found.run_id is not None:
        return found
    values = {"run_id": run_id, "workflow_id": workflow_id}
    connection.execute(update(keys).where(keys.c.key == key).values(**values))
    return Remembered(key, token_name, request_digest, workflow_id, run_id, found.claimed_at)


def release(connection: Connection, key: str) -> None:
    """Forget a claim whose start was refused, so that a later repeat may try again; a run is never forgotten."""
    connection.execute(delete(keys).where(keys.c.key == key, keys.c.run_id.is_(None)))


def give_up(connection: Connection, key: str) -> None:
    """Let the next one take over a claim of which nobody can tell whether it has led to a run."""
    unsettled = update(keys).where(keys.c.key == key, keys.c.run_id.is_(None))
    connection.execute(unsettled.values(claimed_at=GIVEN_UP.isoformat()))


def _remembered(row: Row[tuple[object, ...]]) -> Remembered:
    values = dict(row._mapping)
    return Remembered(**values | {"claimed_at": datetime.fromisoformat(values["claimed_at"])})
