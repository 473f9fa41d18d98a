"""What an alert leads to, whichever tool has sent it: a plan, or a replacement that waits for approval; never more.

The same alert leads to one, however often and to however many API processes it is sent, also after that one has closed.
One that is over is written down and starts, stops and answers nothing.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from pydantic import ValidationError

from replace_etcd.api import starting
from replace_etcd.api.gate import Caller
from replace_etcd.api.problems import Problem, unavailable
from replace_etcd.api.services import Services
from replace_etcd.api.settings import AlertAction
from replace_etcd.audit.events import AuditEvent, EventKind
from replace_etcd.audit.store import AuditUnavailable, Remembered
from replace_etcd.models import Message
from replace_etcd.models.request import NOT_WRITABLE, ReplacementRequest


@dataclass(frozen=True)
class Alert:
    """An alert; `identity` is the same in each repetition of one occurrence."""

    source: str
    identity: str
    user_cluster: str
    replica: str | None
    incident: str
    reason: str
    evidence: dict[str, Any]

    @property
    def key(self) -> starting.Key:
        """What was asked for is the alert itself, so a repetition that words it otherwise is still one."""
        digest = hashlib.sha256(self.identity.encode()).hexdigest()
        return starting.Key(f"alert/{self.source}/{digest}", "alert", digest)


class Acted(Message):
    """What became of one alert."""

    alert: str
    result: str
    replacement: str | None = None
    detail: str = ""


async def fired(services: Services, caller: Caller, alert: Alert) -> Acted:
    """Start what an alert may start; Temporal or the store that is down is told, so that it is sent again."""
    try:
        request = _request(services, alert)
    except ValidationError as error:
        fields = ", ".join(str(problem["loc"][0]) for problem in error.errors() if problem["loc"])
        return _count(
            services, alert, Acted(alert=alert.identity, result="ignored", detail=f"not usable: {fields}")
        )
    await _known(services, alert)  # without the store a storm would start as many plans as it has repetitions
    try:
        started = await starting.start(services, request, caller, alert.key)
    except Problem as problem:
        if problem.status != 409:
            raise
        acted = Acted(
            alert=alert.identity,
            result="already_runs" if problem.kind == "already-runs" else "under_way",
            replacement=problem.more.get("replacement"),
            detail=problem.detail,
        )
        return _count(services, alert, acted)
    result = "repeated" if started.repeated else "started"
    return _count(services, alert, Acted(alert=alert.identity, result=result, replacement=started.run_id))


async def resolved(services: Services, caller: Caller, alert: Alert) -> Acted:
    """Write down that it is over, beside the run that it has started."""
    known = await _known(services, alert)
    structlog.get_logger().info(
        "an alert is over", alert=alert.identity, source=alert.source, user_cluster=alert.user_cluster
    )
    run_id = known.run_id if known else None
    if known is not None and run_id is not None:
        event = AuditEvent(
            run_id=run_id,
            workflow_id=known.workflow_id,
            key=f"alert-resolved:{alert.key.digest}",
            kind=EventKind.ALERT,
            at=datetime.now(UTC),
            data={"state": "resolved", "source": alert.source, "by": caller.name} | alert.evidence,
        )
        try:
            await services.audit.ask(lambda store: store.append([event]))
        except AuditUnavailable as error:
            raise unavailable(str(error)) from error
    return _count(services, alert, Acted(alert=alert.identity, result="noted", replacement=run_id))


def ignored(services: Services, source: str, alert: str, why: str) -> Acted:
    """One that says nothing of a replica of ours."""
    services.metrics.alerts.labels(source, "ignored").inc()
    return Acted(alert=alert, result="ignored", detail=why)


def readable(text: str) -> str:
    """What somebody else has written, as far as a field of ours takes it."""
    return re.sub(f"[{NOT_WRITABLE}]", " ", text)[:1000]


def _request(services: Services, alert: Alert) -> ReplacementRequest:
    waits = services.settings.alert_action is AlertAction.REQUIRE_APPROVAL
    mode = {"require_approval": True} if waits else {"dry_run": True}
    asked = {
        "user_cluster": alert.user_cluster,
        "failed_replica": alert.replica,
        "incident": readable(alert.incident),
        "reason": readable(alert.reason),
    }
    return ReplacementRequest.model_validate({name: value for name, value in asked.items() if value} | mode)


async def _known(services: Services, alert: Alert) -> Remembered | None:
    try:
        return await services.audit.ask(lambda store: store.recall(alert.key.text))
    except AuditUnavailable as error:
        raise unavailable(str(error)) from error


def _count(services: Services, alert: Alert, acted: Acted) -> Acted:
    services.metrics.alerts.labels(alert.source, acted.result).inc()
    return acted
