"""Where notices go: a webhook that is signed, a chat that reads Slack's format, PagerDuty.

Each is told by one POST. What goes wrong is said without the address: those of chats are secrets.

The formats are described in docs/audit.md.
"""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Self

import aiohttp

from replace_etcd.audit.log import Delivery
from replace_etcd.models.notice import Asks, Notice, sentence
from replace_etcd.models.result import Outcome
from replace_etcd.settings import Settings

Headers = dict[str, str]
SIGNATURE, TIMESTAMP, DELIVERY = "Replace-Etcd-Signature", "Replace-Etcd-Timestamp", "Replace-Etcd-Delivery"
SEVERITIES = {
    Asks.WAITING_FOR_APPROVAL: "warning",
    Asks.HELD: "critical",
    Outcome.LEFT_INCOMPLETE: "critical",
    Outcome.INTERRUPTED: "critical",
    Outcome.ROLLED_BACK: "error",
    Outcome.REFUSED: "warning",
}


@dataclass(frozen=True)
class Receiver:
    """One address, and how a notice is written for it."""

    name: str
    url: str
    write: Callable[[Notice], tuple[bytes, Headers]]


class Receivers:
    """Everybody who is to be told."""

    def __init__(self, receivers: list[Receiver], *, seconds: float = 10.0) -> None:
        self._receivers = receivers
        self._seconds = seconds

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """As the settings say; None where nobody is to be told."""
        found = []
        if settings.notify_webhook_url:
            secret = settings.notify_webhook_secret
            key = secret.get_secret_value().encode() if secret else None
            url = settings.notify_webhook_url.get_secret_value()
            found.append(Receiver("webhook", url, lambda notice: signed(_plain(notice), notice.key, key)))
        if settings.notify_slack_url:
            found.append(Receiver("slack", settings.notify_slack_url.get_secret_value(), chat))
        if settings.notify_pagerduty_key:
            routing_key = settings.notify_pagerduty_key.get_secret_value()
            found.append(
                Receiver(
                    "pagerduty",
                    settings.notify_pagerduty_url,
                    lambda notice: _json(pagerduty(notice, routing_key)),
                )
            )
        return cls(found, seconds=settings.notify_seconds) if found else None

    async def send(self, notice: Notice, *, but: Collection[str]) -> Delivery:
        """Send it to all of them at once, but those that have it."""
        wanted = [receiver for receiver in self._receivers if receiver.name not in but]
        timeout = aiohttp.ClientTimeout(total=self._seconds)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            problems = await asyncio.gather(*(_post(session, receiver, notice) for receiver in wanted))
        told = dict(zip((receiver.name for receiver in wanted), problems, strict=True))
        return Delivery(
            taken=[name for name, problem in told.items() if not problem],
            refused={name: problem for name, problem in told.items() if problem},
        )


async def _post(session: aiohttp.ClientSession, receiver: Receiver, notice: Notice) -> str:
    """What went wrong; empty where it was taken."""
    body, headers = receiver.write(notice)
    headers |= {"Content-Type": "application/json", "User-Agent": "replace-etcd"}
    try:
        async with session.post(receiver.url, data=body, headers=headers, allow_redirects=False) as answer:
            return "" if answer.status < 300 else f"answers {answer.status}"
    except TimeoutError:
        return "does not answer in time"
    except (aiohttp.ClientError, ValueError, OSError) as error:
        return f"cannot be reached ({type(error).__name__})"


def signed(body: bytes, delivery: str, secret: bytes | None, now: int | None = None) -> tuple[bytes, Headers]:
    """The body with its signature: HMAC-SHA256 over time, a point, and the body: an old one cannot be sent again."""
    timestamp = str(int(time.time()) if now is None else now)
    headers = {TIMESTAMP: timestamp, DELIVERY: delivery}
    if secret is not None:
        digest = hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        headers[SIGNATURE] = f"v1={digest}"
    return body, headers


def chat(notice: Notice) -> tuple[bytes, Headers]:
    """As Slack's incoming webhooks read it, and those that copy them; its three control characters escaped."""
    text = sentence(notice).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _json({"text": text})


def pagerduty(notice: Notice, routing_key: str) -> dict[str, Any]:
    """An event of PagerDuty's Events API v2: one alert for each replacement, resolved by its good end."""
    dedup = {"routing_key": routing_key, "dedup_key": f"replace-etcd/{notice.workflow_id}"}
    if notice.has_ended_well:
        return dedup | {"event_action": "resolve"}
    payload = {
        "summary": sentence(notice)[:1024],
        "source": notice.user_cluster,
        "severity": SEVERITIES[notice.event],
        "timestamp": notice.at.isoformat(),
        "component": notice.replica or "etcd",
        "group": notice.user_cluster,
        "class": notice.event.value,
        "custom_details": json.loads(_plain(notice)),
    }
    return dedup | {"event_action": "trigger", "client": "replace-etcd", "payload": payload}


def _plain(notice: Notice) -> bytes:
    return notice.model_dump_json().encode()


def _json(value: dict[str, Any]) -> tuple[bytes, Headers]:
    return json.dumps(value).encode(), {}
