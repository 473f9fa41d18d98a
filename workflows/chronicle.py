"""The chronicle of one replacement: what happened, noted where it happens, and delivered beside the steps.

What was noted is kept here until the audit has it: a store that is out of reach makes nobody wait. Delivery is tried at
the start, at the point of no return, when people are asked and have answered, and at the end.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from temporalio import workflow

from workflows import options, telling
from workflows.saga import every_end_leaves_a_command

with workflow.unsafe.imports_passed_through():
    from replace_etcd import __version__
    from replace_etcd.audit.events import AuditEvent, EventKind
    from replace_etcd.models import Input
    from replace_etcd.models.notice import Asks, Notice
    from replace_etcd.models.orders import Done, Preflighted, Undelivered
    from replace_etcd.models.phase import Phase
    from replace_etcd.models.plan import Pins
    from replace_etcd.models.request import ReplacementRequest
    from replace_etcd.models.restoring import Restored
    from replace_etcd.models.result import Outcome, ReplacementResult, Step

TOLD_ELSEWHERE = {"steps", "plan"}  # by events of their own


class Chronicle:
    """Everything that is told of one replacement, to the audit and to people."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._events: list[AuditEvent] = []
        self._delivered = self._wanted = 0
        self._heard_before: list[tuple[EventKind, dict[str, Any]]] = []
        self._about: dict[str, str | None] = {}
        self._requested_by: str | None = None
        self._dry_run = False
        self._delivery: asyncio.Task[None] | None = None
        self._sending: asyncio.Task[None] | None = None
        self._last_notice: Notice | None = None

    def begin(self, request: ReplacementRequest) -> None:
        """Somebody asked for a replacement; a plan changes nothing, and is told once, at its end."""
        self._about = {
            "user_cluster": request.user_cluster,
            "replica": request.failed_replica,
            "incident": request.incident,
        }
        self._requested_by, self._dry_run = request.requested_by, request.dry_run
        asked = request.model_dump(mode="json", exclude_unset=True)
        info = workflow.info()
        versions = {"replace-etcd": __version__, "namespace": info.namespace, "task_queue": info.task_queue}
        self.note(
            EventKind.STARTED, request=asked, versions=versions, first_run_id=info.first_execution_run_id
        )
        for kind, said in self._heard_before:
            self.note(kind, **said)
        self.deliver()

    def bind(self, pins: Pins) -> None:
        """From here on it is known which replica it is."""
        self._about["replica"] = pins.replica

    def step(self, step: Step, phase: Phase, result: Done | None) -> None:
        """A step went through, or failed; what it has seen is the evidence."""
        evidence = result.model_dump(mode="json", exclude={*Done.model_fields, "plan"}) if result else {}
        said = step.model_dump(mode="json") | {"phase": phase.value, "evidence": evidence}
        self.note(EventKind.STEP, **said)
        if isinstance(result, Preflighted):
            self.note(EventKind.PLANNED, plan=result.plan.model_dump(mode="json"))

    def heard(self, kind: EventKind, word: Input) -> None:
        """Somebody gave an answer that was taken; one that came with the start is told after it."""
        said = word.model_dump(mode="json")
        said = ({"by": said.pop("approver")} if "approver" in said else {}) | said
        if not self._about and workflow.patched("told-after-the-start"):
            self._heard_before.append((kind, said))
            return
        self.note(kind, **said)
        self.deliver()

    def asks(self, asks: Asks, reason: str, choices: list[str], deadline: datetime) -> None:
        """People are asked, and those who are not looking are told."""
        self.note(
            EventKind.ASKED,
            waiting_for=asks.value,
            reason=reason,
            choices=choices,
            deadline=deadline.isoformat(),
        )
        self.deliver()
        notice = self._notice(asks, reason, choices=choices, deadline=deadline)
        self._sending = asyncio.create_task(self._try_to_send(notice))

    def ends(self, result: ReplacementResult) -> None:
        """The outcome is set; the notice goes out with the last delivery."""
        left = result.model_dump(mode="json", exclude=TOLD_ELSEWHERE)
        self.note(EventKind.FINISHED, outcome=result.outcome, reason=result.reason, result=left)
        self._last_notice = None if self._dry_run else self._notice(result.outcome, result.reason)

    def note(self, kind: EventKind, *, outcome: Outcome | None = None, **data: Any) -> None:
        """Keep an event; its number in the run is its key, so that a repeat is known as one."""
        info = workflow.info()
        self._events.append(
            AuditEvent(
                run_id=info.run_id,
                workflow_id=info.workflow_id,
                key=f"{len(self._events) + 1:04}",
                kind=kind,
                at=workflow.now(),
                outcome=outcome,
                data=data,
                **self._about,
            )
        )

    def deliver(self) -> None:
        """Try to deliver what was noted, beside the steps; what does not get through is tried again with the rest."""
        if self._dry_run:
            return
        self._wanted = len(self._events)
        if self._delivery is None or self._delivery.done():
            self._delivery = asyncio.create_task(self._try_to_deliver())

    async def conclude(self) -> None:
        """The last word; what cannot be delivered in a few seconds is left to a run of its own."""
        if self._delivery is not None:
            await self._delivery
        notices = [self._last_notice] if self._last_notice else []
        await telling.hand_over(self._undelivered(), notices)

    async def _try_to_deliver(self) -> None:
        while self._delivered < self._wanted:
            batch = telling.batches(self._events[self._delivered : self._wanted])[0]
            if not await telling.deliver(Undelivered(events=batch), options.TELLING["append_audit_events"]):
                break
            self._delivered += len(batch)
        self._show_the_end()

    async def _try_to_send(self, notice: Notice) -> None:
        await telling.deliver(Undelivered(notices=[notice]), options.TELLING["send_notification"])
        self._show_the_end()

    def _show_the_end(self) -> None:
        if every_end_leaves_a_command():
            self._changed()

    def _undelivered(self) -> Sequence[AuditEvent]:
        """A run that was reset has told its beginning under the id of the run before: it tells everything again."""
        info = workflow.info()
        return self._events if info.run_id != info.first_execution_run_id else self._events[self._delivered :]

    def _notice(self, event: Asks | Outcome, reason: str, **fields: Any) -> Notice:
        info = workflow.info()
        return Notice(
            key=f"{info.run_id}:{len(self._events):04}",
            event=event,
            at=workflow.now(),
            workflow_id=info.workflow_id,
            run_id=info.run_id,
            requested_by=self._requested_by,
            reason=reason,
            **self._about,
            **fields,
        )


def of_interrupted(restored: Restored) -> tuple[list[AuditEvent], list[Notice]]:
    """What is told of a run that could not tell its end itself: by the run that has put back what it left."""
    info, now = workflow.info(), workflow.now()

    def event(number: int, kind: EventKind, outcome: Outcome | None = None, **data: Any) -> AuditEvent:
        return AuditEvent(
            run_id=restored.run_id,
            workflow_id=restored.workflow_id,
            key=f"restored:{info.run_id}:{number:04}",
            kind=kind,
            at=now,
            user_cluster=restored.user_cluster,
            replica=restored.replica,
            outcome=outcome,
            data=data | {"by": f"{info.workflow_id}, run {info.run_id}"},
        )

    events = [
        event(number, EventKind.STEP, **step.model_dump(mode="json"))
        for number, step in enumerate(restored.steps, start=1)
    ]
    found = restored.model_dump(mode="json", exclude={"steps"})
    end = event(0, EventKind.INTERRUPTED, restored.outcome, reason=restored.reason, found=found)
    notice = Notice(
        key=end.key,
        event=Outcome.INTERRUPTED,
        at=now,
        workflow_id=restored.workflow_id,
        run_id=restored.run_id,
        user_cluster=restored.user_cluster,
        replica=restored.replica,
        reason=restored.reason,
    )
    return [*events, end], [notice]
