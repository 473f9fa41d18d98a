"""Times as Kubernetes writes them: whole seconds in UTC; leases and events also with microseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def now() -> datetime:
    """The time it is."""
    return datetime.now(UTC)


def timestamp(moment: datetime | None = None, *, later: float = 0) -> str:
    """Write a time, or the time it will be some seconds later."""
    return ((moment or now()) + timedelta(seconds=later)).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse(text: str) -> datetime:
    """Read a time, with or without a fraction."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def seconds_since(text: str) -> float:
    """Seconds between a written time and now."""
    return (now() - parse(text)).total_seconds()


def age(text: str | None) -> str:
    """A time as kubectl shows it: 5s, 3m10s, 2h, 4d."""
    if not text:
        return "<unknown>"
    seconds = int(seconds_since(text))
    if seconds < 120:
        return f"{max(seconds, 0)}s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 10:
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours = minutes // 60
    return f"{hours}h" if hours < 48 else f"{hours // 24}d"
