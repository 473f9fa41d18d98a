"""Incidents as PagerDuty sends them (webhooks v3): signed, since they show no token.

PagerDuty drops what is answered with 4xx and switches a subscription off after three of those, so whatever is signed
well is taken; what says nothing to us is ignored in the answer.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import AwareDatetime, Field, ValidationError

from replace_etcd.api import alerts
from replace_etcd.api.alerts import Acted, Alert
from replace_etcd.api.gate import Caller
from replace_etcd.api.problems import Problem, not_found, unavailable
from replace_etcd.api.services import Services
from replace_etcd.api.tokens import Role, Token
from replace_etcd.models import Message

SOURCE = "pagerduty"
SIGNATURE = "x-pagerduty-signature"
MOST_SIGNATURES = 10
LONGEST_TITLE = 500
CLOCKS_DIFFER = timedelta(minutes=5)
CALLER = Caller(SOURCE, Token(SOURCE, frozenset({Role.ALERT}), ""))


class Incident(Message):
    """What the event is about."""

    id: str = Field(max_length=100)
    title: str = ""
    html_url: str = ""


class Event(Message):
    """What happened, and when."""

    id: str = Field(max_length=100)
    event_type: str
    occurred_at: AwareDatetime
    data: Incident


class Delivery(Message):
    """The body of a webhook v3."""

    event: Event


async def receive(services: Services, body: bytes, signatures: str) -> Acted:
    """Check who sends it, then whether it is new, then what it says."""
    secrets = _secrets(services.settings.pagerduty_secrets_file)
    if not is_signed(body, signatures, secrets):
        raise Problem(
            401, "bad-signature", f"no signature in {SIGNATURE} is that of a secret that is known here"
        )
    try:
        event = Delivery.model_validate_json(body).event
    except ValidationError:
        return alerts.ignored(services, SOURCE, "?", "this is no event of an incident")
    return await _heard(services, event)


def is_signed(body: bytes, signatures: str, secrets: list[str]) -> bool:
    """Whether one of the signatures (several while a secret is changed) is that of one of the secrets."""
    shown = [one.strip() for one in signatures.split(",")[:MOST_SIGNATURES]]
    good = False
    for secret in secrets:
        wanted = "v1=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        for one in shown:
            good |= hmac.compare_digest(one.encode(), wanted.encode())
    return good


async def _heard(services: Services, event: Event) -> Acted:
    if event.event_type not in ("incident.triggered", "incident.resolved"):
        return alerts.ignored(services, SOURCE, event.data.id, f"{event.event_type} leads to nothing")
    if not _is_new(event, services.settings.pagerduty_replay_seconds):
        return alerts.ignored(
            services, SOURCE, event.data.id, "it is too old, or of the future: perhaps a replay"
        )
    meant = re.search(services.settings.pagerduty_title, event.data.title[:LONGEST_TITLE])
    if meant is None:
        return alerts.ignored(services, SOURCE, event.data.id, "its title names no user cluster")
    alert = Alert(
        source=SOURCE,
        identity=event.data.id,
        user_cluster=meant["user_cluster"],
        replica=meant.groupdict().get("replica"),
        incident=f"PagerDuty {event.data.id}",
        reason=event.data.title,
        evidence={"event": event.id, "at": event.occurred_at.isoformat(), "url": event.data.html_url[:500]},
    )
    act = alerts.fired if event.event_type == "incident.triggered" else alerts.resolved
    return await act(services, CALLER, alert)


def _is_new(event: Event, seconds: float) -> bool:
    """A signed body proves who wrote it, not when it is sent: an old one is somebody's copy."""
    now = datetime.now(UTC)
    return now - timedelta(seconds=seconds) <= event.occurred_at <= now + CLOCKS_DIFFER


def _secrets(path: Path | None) -> list[str]:
    """Read anew each time, so that a secret is changed without a restart."""
    if path is None:
        raise not_found(
            "PagerDuty is not set up here: name its secrets in REPLACE_ETCD_API_PAGERDUTY_SECRETS_FILE"
        )
    try:
        return read_secrets(path)
    except ValueError as error:
        raise unavailable(str(error)) from error


def read_secrets(path: Path) -> list[str]:
    """The signing secrets of a file, one a line; ValueError where it has none."""
    try:
        secrets = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the secrets of PagerDuty cannot be read from {path} ({error})") from None
    if not secrets:
        raise ValueError(f"{path} holds no secret of PagerDuty's: write one a line")
    return secrets
