"""What Prometheus is told. Labels are ours: routes and outcomes, never a name, an id or a path that somebody sent."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import Response

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class Metrics:
    """The figures of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "replace_etcd_api_requests",
            "Requests by route and status.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "replace_etcd_api_request_seconds", "How long answers took.", ["route"], registry=self.registry
        )
        self.starts = Counter(
            "replace_etcd_api_starts",
            "Starts by what became of them: started, repeated, refused, failed.",
            ["result"],
            registry=self.registry,
        )
        self.alerts = Counter(
            "replace_etcd_api_alerts",
            "Alerts by their source and what became of them.",
            ["source", "result"],
            registry=self.registry,
        )
        self.turned_away = Counter(
            "replace_etcd_api_turned_away",
            "Requests turned away before their route: limited, unauthenticated, too large, ...",
            ["why"],
            registry=self.registry,
        )

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request; a method that is none is one of `other`."""
        known = method if method in METHODS else "other"
        self._requests.labels(known, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def page(self) -> Response:
        """As Prometheus reads it."""
        return Response(generate_latest(self.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
