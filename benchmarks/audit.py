"""Who asked the API server for what, and when: the audit log of a lab, reads included."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Request:
    """One request."""

    agent: str
    verb: str
    resource: str
    name: str
    code: int
    began: float
    ended: float
    command: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        """As a person would say it: `patch nodes`, `exec etcdctl`."""
        return f"exec {self.command[0]}" if self.command else f"{self.verb} {self.resource}"


def requests(log: Path, agent: str, begin: float, end: float) -> list[Request]:
    """Those of a user agent that were received within a time, in the order in which they came."""
    found = [_request(json.loads(line)) for line in log.read_text().splitlines()]
    ours = {
        key: request
        for key, request in found
        if agent in request.agent.lower() and begin <= request.began <= end
    }
    return sorted(ours.values(), key=lambda request: request.began)


def by_verb(found: Iterable[Request]) -> dict[str, int]:
    """How many of each sort."""
    return dict(Counter(request.what for request in found).most_common())


def _request(event: dict[str, Any]) -> tuple[object, Request]:
    """A watch has two lines, at its beginning and its end: they share an id."""
    target = event.get("objectRef") or {}
    names = [target.get("resource"), target.get("subresource")]
    uri = event.get("requestURI", "")
    words = [value for key, value in parse_qsl(urlsplit(uri).query) if key == "command"]
    began = event["requestReceivedTimestamp"]
    request = Request(
        agent=event.get("userAgent", ""),
        verb=event["verb"],
        resource="/".join(name for name in names if name) or uri.partition("?")[0],
        name=target.get("name") or "",
        code=(event.get("responseStatus") or {}).get("code", 0),
        began=_seconds(began),
        ended=_seconds(event["stageTimestamp"]),
        command=tuple(words),
    )
    return event.get("auditID") or (began, uri), request


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def refused_additions(found: Iterable[Request]) -> dict[str, float]:
    """How long etcd refused the new member (its HealthInterval): from the first `member add` to the last."""
    sent = [request.began for request in found if _adds(request.command)]
    return {"etcd's HealthInterval": round(sent[-1] - sent[0], 3)} if len(sent) > 1 else {}


def silent_probes(found: Iterable[Request], replica: str, begin: float, end: float) -> float:
    """How long, within a time, at least one survivor waited for an answer of the failed member's endpoint; seconds."""
    spans = sorted(
        (request.began, min(request.ended, end))
        for request in found
        if begin <= request.began < end and _asks(request.command, replica)
    )
    total, until = 0.0, begin
    for began, ended in spans:
        total += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return round(total, 3)


def _asks(command: tuple[str, ...], replica: str) -> bool:
    return any(word.startswith("--endpoints=") and f"//{replica}." in word for word in command)


def _adds(command: tuple[str, ...]) -> bool:
    return any(command[number : number + 2] == ("member", "add") for number in range(len(command)))
