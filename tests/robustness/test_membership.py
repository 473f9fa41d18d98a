"""What etcd does in and out of order: each row is asked of real etcd and of the model that plays it elsewhere.

The model is worth something only as long as both give the same answers here.
"""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from replace_etcd.etcd import parse_alarms, parse_hash, parse_members, parse_status
from replace_etcd.models.plan import Member
from tests.robustness.beds import NAMES, Bed, ModelBed, RealBed
from tests.robustness.etcdctl import Answer

FIRST, FAILED, LAST = NAMES
WITHIN = 60.0
AT_ONCE = 6


Row = Callable[[Bed], Awaitable[None]]
ROWS: list[Row] = []


def row(asked: Row) -> Row:
    """A row of the table."""
    ROWS.append(asked)
    return asked


@asynccontextmanager
async def filled(made: Bed) -> AsyncIterator[Bed]:
    """A whole cluster with some keys in it."""
    try:
        for name in NAMES:
            await made.start(name, "new")
        await led(made)
        for number in range(3):
            await writes(made, FIRST, f"key-{number}")
        yield made
    finally:
        await made.close()


async def eventually(bed: Bed, ask: Callable[[], Awaitable[Any]]) -> Any:
    """Ask until the answer is true."""
    async with asyncio.timeout(WITHIN):
        while not (answer := await ask()):  # noqa: ASYNC110 - etcd announces nothing
            await asyncio.sleep(bed.poll)
        return answer


async def succeeds(bed: Bed, name: str, *arguments: str) -> Answer:
    """Run a command until it succeeds."""

    async def ask() -> Answer | None:
        answer = await bed.ctl(name, *arguments)
        return answer if answer.exit_code == 0 else None

    answer: Answer = await eventually(bed, ask)
    return answer


async def led(bed: Bed, *names: str) -> str:
    """Wait until these members agree on a leader; its name."""

    async def ask() -> str | None:
        answers = [await bed.ctl(name, "endpoint", "status", "-w", "json") for name in names or NAMES]
        if any(answer.exit_code for answer in answers):
            return None
        statuses = [parse_status(answer.stdout) for answer in answers]
        leaders = {status.leader_id for status in statuses}
        by_id = {status.member_id: name for status, name in zip(statuses, names or NAMES, strict=True)}
        return by_id.get(leaders.pop()) if len(leaders) == 1 else None

    leader: str = await eventually(bed, ask)
    return leader


async def writes(bed: Bed, name: str, key: str) -> None:
    """Write a key, and have it acknowledged."""
    await succeeds(bed, name, "put", key, "value")


async def members(bed: Bed, via: str = FIRST) -> dict[str, Member]:
    """The member list by peer URL."""
    listed = parse_members((await succeeds(bed, via, "member", "list", "-w", "json")).stdout)
    return {member.peer_urls[0]: member for member in listed}


async def id_of(bed: Bed, name: str, via: str = FIRST) -> str:
    """The id under a member's peer URL."""
    return (await members(bed, via))[bed.peer_url(name)].id


async def keys(bed: Bed, name: str) -> list[str]:
    """What one member has, asked of it alone."""
    answer = await succeeds(
        bed, name, "get", "key", "--prefix", "--keys-only", "--consistency=s", "-w", "simple"
    )
    return sorted(filter(None, answer.stdout.splitlines()))


async def fail(bed: Bed) -> str:
    """Let one member die, one that does not lead; its id."""
    identity = await id_of(bed, FAILED)
    if await led(bed) == FAILED:
        target = parse_status((await bed.ctl(FIRST, "endpoint", "status", "-w", "json")).stdout).member_id
        await succeeds(bed, FAILED, "move-leader", target)
        await led(bed)
    await bed.stop(FAILED)
    await led(bed, FIRST, LAST)
    return identity


async def remove(bed: Bed, identity: str) -> None:
    """Remove a member, and see that both others agree."""
    await bed.ctl(FIRST, "member", "remove", identity)
    await eventually(bed, lambda: _unlisted(bed, identity))


async def _unlisted(bed: Bed, identity: str) -> bool:
    lists = [await members(bed, via) for via in (FIRST, LAST)]
    return all(member.id != identity for listed in lists for member in listed.values())


async def add(bed: Bed, *flags: str) -> str:
    """Add the failed member again; its new id."""
    await succeeds(bed, FIRST, "member", "add", FAILED, f"--peer-urls={bed.peer_url(FAILED)}", *flags)
    return await id_of(bed, FAILED)


@row
async def remove_add_wipe_existing_works_and_loses_nothing(bed: Bed) -> None:
    old = await fail(bed)
    await writes(bed, LAST, "key-while-down")
    await remove(bed, old)
    new = await add(bed)
    await bed.wipe(FAILED)
    await bed.start(FAILED, "existing")
    await led(bed)
    assert new != old
    assert await keys(bed, FAILED) == ["key-0", "key-1", "key-2", "key-while-down"]
    assert {member.started for member in (await members(bed)).values()} == {True}


@row
async def a_learner_joins_and_is_promoted_once_it_is_in_sync(bed: Bed) -> None:
    await remove(bed, await fail(bed))
    new = await add(bed, "--learner")
    early = await bed.ctl(FIRST, "member", "promote", new)
    assert early.exit_code != 0
    assert "in sync with leader" in early.stderr
    assert (await members(bed))[bed.peer_url(FAILED)].learner
    await bed.wipe(FAILED)
    await bed.start(FAILED, "existing")
    await eventually(bed, lambda: _is_learner_by_its_own_word(bed))
    assert (await bed.ctl(FAILED, "endpoint", "health")).exit_code != 0, "a learner counts as unhealthy"
    await succeeds(bed, FIRST, "member", "promote", new)
    assert not (await members(bed))[bed.peer_url(FAILED)].learner
    assert (await bed.ctl(FIRST, "member", "promote", new)).exit_code != 0
    await succeeds(bed, FAILED, "endpoint", "health")


async def _is_learner_by_its_own_word(bed: Bed) -> bool:
    answer = await bed.ctl(FAILED, "endpoint", "status", "-w", "json")
    return answer.exit_code == 0 and parse_status(answer.stdout).learner


async def _restarts_with(bed: Bed, flag: str) -> None:
    old = await fail(bed)
    await bed.start(FAILED, flag)
    await led(bed)
    assert await id_of(bed, FAILED) == old
    assert await keys(bed, FAILED) == ["key-0", "key-1", "key-2"]


@row
async def with_data_on_disk_the_flag_new_does_not_matter(bed: Bed) -> None:
    await _restarts_with(bed, "new")


@row
async def with_data_on_disk_the_flag_existing_does_not_matter(bed: Bed) -> None:
    await _restarts_with(bed, "existing")


@row
async def removed_and_not_added_it_cannot_join(bed: Bed) -> None:
    await remove(bed, await fail(bed))
    await bed.wipe(FAILED)
    await bed.start(FAILED, "existing")
    code, said = await bed.end_of(FAILED)
    assert code == 1
    assert "error validating peerURLs" in said
    assert "member count is unequal" in said


@row
async def removed_and_not_added_it_is_rejected_as_a_new_one_and_ends_without_an_error(bed: Bed) -> None:
    await remove(bed, await fail(bed))
    await bed.wipe(FAILED)
    await bed.start(FAILED, "new")
    code, said = await bed.end_of(FAILED)
    assert code == 0
    assert "the member has been permanently removed from the cluster" in said
    assert len(await members(bed)) == 2


@row
async def alone_in_its_initial_cluster_it_becomes_a_cluster_of_its_own(bed: Bed) -> None:
    await remove(bed, await fail(bed))
    await bed.wipe(FAILED)
    await bed.start(FAILED, "new", [FAILED])
    await led(bed, FAILED)
    await writes(bed, FAILED, "key-of-its-own")
    assert await keys(bed, FAILED) == ["key-of-its-own"]
    ids = {
        parse_status((await succeeds(bed, name, "endpoint", "status", "-w", "json")).stdout).cluster_id
        for name in NAMES
    }
    assert len(ids) == 2


@row
async def added_and_started_as_new_it_poisons_its_directory(bed: Bed) -> None:
    await remove(bed, await fail(bed))
    new = await add(bed, "--learner")
    await bed.wipe(FAILED)
    await bed.start(FAILED, "new")
    assert (await bed.end_of(FAILED))[0] == 0
    await bed.start(FAILED, "existing")
    await eventually(bed, lambda: bed.is_rejected(FAILED))
    listed = (await members(bed))[bed.peer_url(FAILED)]
    assert (listed.id, listed.started) == (new, False), "the directory keeps the old id"
    await bed.stop(FAILED)
    await bed.wipe(FAILED)
    await bed.start(FAILED, "existing")
    await eventually(bed, lambda: _is_learner_by_its_own_word(bed))


@row
async def added_and_not_wiped_it_is_rejected_under_its_old_id(bed: Bed) -> None:
    await remove(bed, await fail(bed))
    await add(bed, "--learner")
    await bed.start(FAILED, "existing")
    assert (await bed.end_of(FAILED))[0] == 0


@row
async def not_removed_and_started_as_new_it_has_been_bootstrapped(bed: Bed) -> None:
    await fail(bed)
    await bed.wipe(FAILED)
    await bed.start(FAILED, "new")
    code, said = await bed.end_of(FAILED)
    assert code == 1
    assert "has already been bootstrapped" in said


@row
async def not_removed_and_wiped_it_panics(bed: Bed) -> None:
    await fail(bed)
    await bed.wipe(FAILED)
    await bed.start(FAILED, "existing")
    code, said = await bed.end_of(FAILED)
    assert code == 2
    assert "is out of range [lastIndex(0)]" in said


@row
async def not_removed_wiped_and_the_leader_before_it_rejoins_with_its_votes_forgotten(bed: Bed) -> None:
    identity = await id_of(bed, FAILED)
    leader = await led(bed)
    if leader != FAILED:
        await succeeds(bed, leader, "move-leader", identity)
        await eventually(bed, lambda: _leads(bed, FAILED))
    await bed.stop(FAILED)
    await led(bed, FIRST, LAST)
    await bed.wipe(FAILED)
    await bed.start(FAILED, "existing")
    await led(bed)
    assert await id_of(bed, FAILED) == identity
    assert await keys(bed, FAILED) == ["key-0", "key-1", "key-2"]


async def _leads(bed: Bed, name: str) -> bool:
    return await led(bed) == name


@row
async def adding_before_removing_is_refused_while_one_is_down(bed: Bed) -> None:
    await fail(bed)
    answer = await bed.ctl(FIRST, "member", "add", "another", "--peer-urls=http://127.0.0.1:1")
    assert answer.exit_code != 0
    assert "unhealthy cluster" in answer.stderr
    assert len(await members(bed)) == 3


@row
async def adding_is_refused_until_every_peer_has_been_connected_for_a_while(bed: Bed) -> None:
    await remove(bed, await fail(bed))
    addition = ("member", "add", FAILED, f"--peer-urls={bed.peer_url(FAILED)}")

    async def too_early() -> bool:
        """A slow machine may take the five seconds to ask: then once more."""
        await bed.stop(LAST)
        await bed.start(LAST, "new")
        await led(bed, FIRST, LAST)
        early = await bed.ctl(FIRST, *addition)
        if early.exit_code == 0:
            await remove(bed, await id_of(bed, FAILED))
            return False
        assert "unhealthy cluster" in early.stderr
        return True

    await eventually(bed, too_early)
    await succeeds(bed, FIRST, *addition)


@row
async def removing_twice_or_an_unknown_id_is_refused(bed: Bed) -> None:
    old = await fail(bed)
    await remove(bed, old)
    for identity in (old, "123456789abcdef"):
        answer = await bed.ctl(LAST, "member", "remove", identity)
        assert answer.exit_code != 0
        assert "member not found" in answer.stderr
    assert len(await members(bed)) == 2


async def _is_added_twice(bed: Bed, refusal: str, *flags: str) -> None:
    await remove(bed, await fail(bed))
    new = await add(bed, *flags)
    answer = await bed.ctl(FIRST, "member", "add", FAILED, f"--peer-urls={bed.peer_url(FAILED)}", *flags)
    assert answer.exit_code != 0
    # The id is made of the time in seconds too: a second add within the same second meets its own id first.
    assert refusal in answer.stderr or "member ID already exist" in answer.stderr
    assert await id_of(bed, FAILED) == new


@row
async def adding_a_learner_twice_is_refused(bed: Bed) -> None:
    await _is_added_twice(bed, "Peer URLs already exists", "--learner")


@row
async def adding_a_voter_twice_is_refused(bed: Bed) -> None:
    await _is_added_twice(bed, "re-configuration failed due to not enough started members")


@row
async def a_healthy_member_cannot_be_removed_while_one_is_down(bed: Bed) -> None:
    await fail(bed)
    answer = await bed.ctl(FIRST, "member", "remove", await id_of(bed, LAST))
    assert answer.exit_code != 0
    assert "unhealthy cluster" in answer.stderr


@row
async def a_healthy_member_can_be_removed_when_both_others_are_up(bed: Bed) -> None:
    healthy = await id_of(bed, FAILED)
    await succeeds(bed, FIRST, "member", "remove", healthy)
    assert (await bed.end_of(FAILED))[0] == 0
    assert len(await members(bed)) == 2


@row
async def a_removal_without_a_quorum_is_applied_when_the_quorum_is_back(bed: Bed) -> None:
    old = await fail(bed)

    async def was_taken() -> bool:
        """A leader steps down soon after it has lost its quorum, and one that has by then leaves the removal out."""
        leader = await led(bed, FIRST, LAST)
        other = LAST if leader == FIRST else FIRST
        await bed.pause(other)
        answer = await bed.ctl(leader, "member", "remove", old)
        assert answer.exit_code != 0, "nobody can know whether it will be applied"
        await bed.resume(other)
        # What is acknowledged now comes after the removal in the log, if that is in it at all.
        await writes(bed, leader, "key-3")
        return await _unlisted(bed, old)

    await eventually(bed, was_taken)


@row
async def a_healthy_member_that_restarts_while_another_is_down_stops_the_writes(bed: Bed) -> None:
    await fail(bed)
    await bed.stop(LAST)
    assert (await bed.ctl(FIRST, "put", "key-3", "value")).exit_code != 0
    await bed.start(LAST, "new")
    await writes(bed, FIRST, "key-4")
    assert {"key-0", "key-1", "key-2", "key-4"} <= set(await keys(bed, LAST))


@row
async def an_alarm_of_a_removed_member_stands_until_it_is_disarmed(bed: Bed) -> None:
    await fail(bed)
    await bed.start(FAILED, "new", quota=1)
    await led(bed)
    await bed.ctl(FIRST, "put", "key-3", "value")
    await eventually(bed, lambda: _refuses_writes(bed))
    identity = await id_of(bed, FAILED)
    await bed.stop(FAILED)
    await led(bed, FIRST, LAST)
    await remove(bed, identity)
    alarms = parse_alarms((await succeeds(bed, FIRST, "alarm", "list", "-w", "json")).stdout)
    assert [(alarm.member_id, alarm.alarm) for alarm in alarms] == [(identity, "NOSPACE")]
    assert await problems(bed, LAST) == [f"memberID:{int(identity, 16)} alarm:NOSPACE "]
    assert await _refuses_writes(bed)
    await succeeds(bed, FIRST, "alarm", "disarm")
    assert parse_alarms((await succeeds(bed, FIRST, "alarm", "list", "-w", "json")).stdout) == []
    assert await problems(bed, LAST) == []
    await writes(bed, FIRST, "key-4")


async def problems(bed: Bed, name: str) -> list[str]:
    return parse_status((await succeeds(bed, name, "endpoint", "status", "-w", "json")).stdout).errors


async def _refuses_writes(bed: Bed) -> bool:
    answer = await bed.ctl(FIRST, "put", "key-more", "value")
    return answer.exit_code != 0 and "database space exceeded" in answer.stderr


@row
async def the_leadership_is_moved_by_the_leader_only(bed: Bed) -> None:
    leader = await led(bed)
    heir, other = (name for name in NAMES if name != leader)
    identity = await id_of(bed, heir)
    assert (await bed.ctl(other, "move-leader", identity)).exit_code != 0
    await succeeds(bed, leader, "move-leader", identity)
    await eventually(bed, lambda: _leads(bed, heir))


@row
async def equal_members_have_an_equal_hash(bed: Bed) -> None:
    revision = 0

    async def agree() -> bool:
        nonlocal revision
        answers = [await succeeds(bed, name, "endpoint", "hashkv", "-w", "json") for name in NAMES]
        hashes = [parse_hash(answer.stdout) for answer in answers]
        revision = hashes[0].revision
        return len({(found.hash, found.compact_revision, found.revision) for found in hashes}) == 1

    await eventually(bed, agree)
    assert revision == 4, "one for each key, after the first"
    await writes(bed, FIRST, "key-3")
    later = await succeeds(bed, FIRST, "endpoint", "hashkv", "-w", "json")
    before = await succeeds(bed, FIRST, "endpoint", "hashkv", f"--rev={revision}", "-w", "json")
    assert parse_hash(later.stdout).hash != parse_hash(before.stdout).hash


@row
async def a_member_that_is_down_does_not_answer_and_no_auth_is_on(bed: Bed) -> None:
    await fail(bed)
    answer = await bed.ctl(FAILED, "endpoint", "status", "-w", "json")
    assert answer.exit_code == 1
    assert "enabled" not in json.loads((await succeeds(bed, FIRST, "auth", "status", "-w", "json")).stdout)
    assert (await succeeds(bed, FIRST, "user", "list")).stdout == ""


ROWS_BY_NAME = {asked.__name__: asked for asked in ROWS}


@pytest.mark.parametrize("asked", ROWS_BY_NAME)
async def test_the_model_gives_the_answer_of_the_table(asked: str) -> None:
    async with filled(ModelBed()) as bed:
        await ROWS_BY_NAME[asked](bed)


async def test_real_etcd_gives_the_answers_of_the_table(tmp_path: Path) -> None:
    """Side by side, since most of each row's time is etcd's own patience."""
    at_once = asyncio.Semaphore(AT_ONCE)

    async def ask(name: str) -> str:
        directory = tmp_path / name[:40]
        directory.mkdir()
        async with at_once:
            try:
                async with filled(RealBed(directory)) as bed:
                    await ROWS_BY_NAME[name](bed)
            except (AssertionError, TimeoutError):
                return f"{name}: {traceback.format_exc()}"
        return ""

    wrong = await asyncio.gather(*(ask(name) for name in ROWS_BY_NAME))
    assert not any(wrong), "\n".join(filter(None, wrong))
