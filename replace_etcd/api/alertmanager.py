"""Alerts as Prometheus's Alertmanager sends them (webhook_config, payload version 4)."""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from pydantic import Field

from replace_etcd.api import alerts
from replace_etcd.api.alerts import Acted, Alert
from replace_etcd.api.gate import Caller
from replace_etcd.api.services import Services
from replace_etcd.models import Message

SOURCE = "alertmanager"
MOST_ALERTS = 200


class FiredAlert(Message):
    """One alert of a group."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    starts_at: str = Field(alias="startsAt", max_length=64)
    ends_at: str = Field(default="", alias="endsAt", max_length=64)
    fingerprint: str = Field(default="", max_length=64)

    @property
    def identity(self) -> str:
        """Its labels and when it began: so that a second Alertmanager's, and each reminder, is known as the same."""
        labels = hashlib.sha256(json.dumps(self.labels, sort_keys=True).encode()).hexdigest()[:16]
        return f"{self.fingerprint or labels}@{self.starts_at}"


class AlertGroup(Message):
    """A notification: the alerts of one group."""

    version: Literal["4"]
    alerts: list[FiredAlert] = Field(max_length=MOST_ALERTS)


class AlertsActed(Message):
    """What became of each alert, in their order."""

    alerts: list[Acted]


async def receive(services: Services, caller: Caller, group: AlertGroup) -> AlertsActed:
    """One after the other: a group is small, and a start takes milliseconds."""
    return AlertsActed(alerts=[await _one(services, caller, alert) for alert in group.alerts])


async def _one(services: Services, caller: Caller, fired: FiredAlert) -> Acted:
    settings = services.settings
    user_cluster = fired.labels.get(settings.alert_user_cluster_label)
    if not user_cluster:
        why = f"it has no label {settings.alert_user_cluster_label}"
        return alerts.ignored(services, SOURCE, fired.identity, why)
    name = fired.labels.get("alertname", "alert")
    alert = Alert(
        source=SOURCE,
        identity=fired.identity,
        user_cluster=user_cluster,
        replica=fired.labels.get(settings.alert_replica_label),
        incident=f"{name} {fired.identity}",
        reason=fired.annotations.get("summary") or fired.annotations.get("description") or name,
        evidence={"labels": fired.labels, "starts_at": fired.starts_at, "ends_at": fired.ends_at},
    )
    act = alerts.fired if fired.status == "firing" else alerts.resolved
    return await act(services, caller, alert)
