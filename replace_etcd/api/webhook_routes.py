"""`/v1/webhooks`: what monitoring sends."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request

from replace_etcd.api import alertmanager, pagerduty
from replace_etcd.api.alertmanager import AlertGroup, AlertsActed
from replace_etcd.api.alerts import Acted
from replace_etcd.api.calling import BEARER_TOKEN, Alerter
from replace_etcd.api.pagerduty import Delivery
from replace_etcd.api.problems import documented
from replace_etcd.api.services import Given

router = APIRouter(
    prefix="/v1/webhooks", tags=["webhooks"], responses=documented(400, 401, 408, 413, 415, 422, 429, 503)
)


@router.post(
    "/alertmanager",
    dependencies=BEARER_TOKEN,
    summary="Alerts of Prometheus's Alertmanager (payload version 4)",
    responses=documented(403),
)
async def from_alertmanager(services: Given, caller: Alerter, group: AlertGroup) -> AlertsActed:
    """Each alert that names a user cluster leads to a plan, or to a replacement that waits for approval, once."""
    return await alertmanager.receive(services, caller, group)


@router.post(
    "/pagerduty",
    summary="Incidents of PagerDuty (webhooks v3)",
    responses=documented(404),
    openapi_extra={
        "requestBody": {"content": {"application/json": {"schema": Delivery.model_json_schema()}}},
    },
)
async def from_pagerduty(
    services: Given, request: Request, x_pagerduty_signature: Annotated[str, Header(max_length=1000)] = ""
) -> Acted:
    """Signed, so that it needs no token; an incident leads to what an alert leads to."""
    return await pagerduty.receive(services, await request.body(), x_pagerduty_signature)
