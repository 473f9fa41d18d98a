"""Preflight: a survivor whose container started a short while ago, which etcd itself does not tell.

One that was emptied and has rejoined under its old id looks healthy, with equal `hashkv`: what it had acknowledged
together with the failed member may be in nobody's data but the failed one's, which the replacement empties.
"""

from datetime import UTC, datetime, timedelta

from activities.preflight_checks import Looks
from replace_etcd.cluster import Object

RECENTLY = timedelta(minutes=15)
NAME = "survivors' last start"


def look_at_starts(looks: Looks) -> None:
    """A warning that names each of them, and how to find out why: it cannot be told from a plain restart."""
    container, now = looks.container, datetime.now(UTC)
    starts = {survivor.pod: _start(looks.pods[survivor.pod], container) for survivor in looks.survivors}
    recent = [pod for pod, (at, _) in starts.items() if at is None or now - at < RECENTLY]
    said = [_said(pod, *starts[pod], now) for pod in recent or starts]
    if not recent:
        looks.findings.ok(NAME, "; ".join(said))
        return
    logs = "; ".join(f"kubectl -n {looks.namespace} logs {pod} -c {container} --previous" for pod in recent)
    way_out = (
        f"find out why ({logs}); if its data was emptied, {looks.replica} may hold the only copy of "
        "acknowledged writes: copy its volume first"
    )
    looks.findings.warn(NAME, "; ".join(said), way_out)


def _start(pod: Object, container: str) -> tuple[datetime | None, int]:
    """When the container that runs was started (None where the pod does not say), and its restarts."""
    statuses: list[Object] = pod.get("status", {}).get("containerStatuses") or []
    status: Object = next((status for status in statuses if status["name"] == container), {})
    at = status.get("state", {}).get("running", {}).get("startedAt")
    return datetime.fromisoformat(at) if at else None, status.get("restartCount", 0)


def _said(pod: str, at: datetime | None, restarts: int, now: datetime) -> str:
    if at is None:
        return f"{pod} does not say when it started"
    return f"{pod} started {(now - at).total_seconds() / 60:.0f} min ago, restart {restarts}"
