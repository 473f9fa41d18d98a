"""Asking etcd itself: every question goes to the survivors, by `etcdctl` in their own pods.

A list counts only where the survivors agree on it: `member list` is not linearizable in 3.4, and a removal
that timed out may be applied seconds later (docs/contract.md, Phases).
"""

import asyncio
import time
from typing import Protocol

from activities.side_by_side import side_by_side
from activities.step import Toolbox, tell
from replace_etcd.cluster import CommandResult, Object
from replace_etcd.errors import CommandFailed, Moved, NotYet, Recovered, ReplacementError
from replace_etcd.etcd import MemberStatus, etcdctl, parse_members, parse_status
from replace_etcd.models.plan import Member, Pins, Survivor

PROBE_PAUSE_SECONDS = 0.5
PROBE_SECONDS = 2
LAST_PROBE_SECONDS = 1
FEWEST_PROBES = 3
EXEC_MARGIN_SECONDS = 10.0
ASKED_TIMES = 3


class Place(Protocol):
    """Where the members of one user cluster run: the namespace of their pods, and etcd's container in each."""

    @property
    def user_cluster(self) -> str:
        """The namespace."""

    @property
    def container(self) -> str:
        """The container, which may have neighbours in its pod, and another name than the vendor's."""


class Survivors:
    """The healthy members of one user cluster's etcd, and what they say."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools

    async def run(
        self,
        place: Place,
        pod: str,
        arguments: list[str],
        *,
        endpoint: str | None = None,
        seconds: int | None = None,
    ) -> CommandResult:
        """Run `etcdctl` in a pod, against its own member unless an endpoint is named."""
        settings = self._tools.settings
        limit = seconds or settings.command_timeout_seconds
        command = etcdctl(
            arguments,
            certificates=settings.certificates_directory,
            endpoint=endpoint or settings.client_endpoint,
            seconds=limit,
        )
        return await self._tools.cluster.execute(
            place.user_cluster, pod, place.container, command, seconds=limit + EXEC_MARGIN_SECONDS
        )

    async def members_by(self, place: Place, pod: str) -> list[Member]:
        """The member list as one pod's member tells it."""
        answer = await self.run(place, pod, ["member", "list", "-w", "json"])
        return parse_members(output_of("etcdctl member list", answer))

    async def members(self, pins: Pins) -> list[Member]:
        """The member list that every survivor confirms; `NotYet` while they differ."""
        lists = await side_by_side(*(self.members_by(pins, s.pod) for s in pins.survivors))
        first, *others = [sorted(members, key=lambda member: member.id) for members in lists]
        if any(other != first for other in others):
            raise NotYet("the survivors do not agree on the member list yet")
        return first

    async def status(
        self, place: Place, pod: str, *, endpoint: str | None = None, seconds: int | None = None
    ) -> MemberStatus:
        """What a member says of itself; raises `CommandFailed` where it does not answer."""
        answer = await self.run(
            place, pod, ["endpoint", "status", "-w", "json"], endpoint=endpoint, seconds=seconds
        )
        return parse_status(output_of("etcdctl endpoint status", answer))

    async def may_serve(self, place: Place, pod: Object) -> bool:
        """Whether a pod's own member answers; one whose container runs and that cannot be asked may serve, too."""
        if not _runs(pod, place.container):
            return False
        for _ in range(ASKED_TIMES):
            try:
                await self.status(place, pod["metadata"]["name"])
            except CommandFailed:
                return False
            except ReplacementError as error:
                tell(f"{pod['metadata']['name']} cannot be asked whether it serves: {error}")
                await asyncio.sleep(PROBE_PAUSE_SECONDS)
            else:
                return True
        return True

    async def answers(self, pins: Pins, survivor: Survivor, *, seconds: int) -> bool:
        """Whether the pinned member answers a survivor; one that is dead costs the whole time."""
        for url in pins.client_urls:
            try:
                status = await self.status(pins, survivor.pod, endpoint=url, seconds=seconds)
            except CommandFailed:
                continue
            if status.member_id == pins.member_id:  # an advertised 127.0.0.1 is the survivor itself
                return True
        return False

    async def must_still_fail(self, pins: Pins, *, seconds: float) -> None:
        """Probe the pinned member again and again; `Recovered` where it answers, `Moved` where a survivor fails.

        The last probe ends with the time, and no sooner: a member that is about to recover must be seen to.
        """
        until = time.monotonic() + seconds
        probes = 0
        while True:
            begun = time.monotonic()
            await side_by_side(self.must_be_silent(pins, seconds=PROBE_SECONDS), self.must_be_healthy(pins))
            probes += 1
            tell(f"member {pins.member_name} does not answer: probe {probes}")
            took, left = time.monotonic() - begun, until - time.monotonic()
            if left <= 0:
                return
            await asyncio.sleep(pause_before_next_probe(probes, took, left))

    async def must_be_silent(self, pins: Pins, *, seconds: int) -> None:
        """Probe the pinned member once from every survivor; `Recovered` where it answers one."""
        answered = await side_by_side(
            *(self.answers(pins, survivor, seconds=seconds) for survivor in pins.survivors)
        )
        if any(answered):
            raise Recovered(f"member {pins.member_name} ({pins.member_id}) answers again")

    async def must_be_healthy(self, pins: Pins) -> None:
        """`Moved` where a survivor is not the member of the plan; `NotYet` where it has no leader or no answer."""
        statuses = await asyncio.gather(
            *(self.status(pins, survivor.pod) for survivor in pins.survivors),
            return_exceptions=True,
        )
        for survivor, status in zip(pins.survivors, statuses, strict=True):
            if isinstance(status, CommandFailed):
                raise NotYet(f"survivor {survivor.pod} does not answer: {status}") from status
            if isinstance(status, BaseException):
                raise status
            if status.member_id != survivor.member_id:
                raise Moved(f"survivor {survivor.pod} is member {status.member_id}, not {survivor.member_id}")
            if status.leader_id == "0":
                raise NotYet(f"survivor {survivor.pod} has no leader right now")


def _runs(pod: Object, container: str) -> bool:
    """Whether the container runs right now: one that crashes again and again is `Running` as a pod."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return any(
        status["name"] == container and "running" in (status.get("state") or {}) for status in statuses
    )


def pause_before_next_probe(probes: int, took: float, left: float) -> float:
    """How long to wait for the next probe, so that they are spread evenly and the last one ends just after the time.

    There were `probes`, and the last one took as long as the next one will: a dead member costs it its whole time.
    All in seconds.
    """
    more = max(FEWEST_PROBES - probes, 1, int((left + PROBE_PAUSE_SECONDS) / (took + PROBE_PAUSE_SECONDS)))
    return max(0.0, left / more - (took if more > 1 else 0.9 * took))


def output_of(command: str, answer: CommandResult) -> str:
    """The output of a command that succeeded; `CommandFailed` otherwise."""
    if answer.exit_code != 0:
        raise CommandFailed(command, answer.exit_code, answer.stderr or answer.stdout)
    return answer.stdout
