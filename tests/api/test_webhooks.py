"""Alerts: what a real Alertmanager has sent (0.25.0, recorded), and what PagerDuty's documentation says it sends."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from replace_etcd.api.settings import AlertAction
from tests.api.conftest import Api, Apis, standing, working
from tests.workflows.script import Script

HERE = Path(__file__).parent
ALERTS = "/v1/webhooks/alertmanager"
INCIDENTS = "/v1/webhooks/pagerduty"
SECRET = "a secret of the subscription"


def recorded(state: str, user_cluster: str) -> Any:
    """A notification of a real Alertmanager, about another user cluster than the recorded one."""
    return json.loads(
        (HERE / f"alertmanager_{state}.json").read_text().replace("user-cluster-1", user_cluster)
    )


class TestAlertmanager:
    """The recorded notifications."""

    async def test_a_storm_of_one_alert_makes_one_plan(
        self, client: Client, apis: Apis, script: Script, user_cluster: str
    ) -> None:
        first, second = apis.one(), apis.one()
        group = recorded("firing", user_cluster)
        async with working(client, script):
            answers = await asyncio.gather(
                *(api.post(ALERTS, group, "monitoring") for api in (first, second) * 4)
            )
            acted = [answer.json()["alerts"][0] for answer in answers]
            ended = await standing(first, acted[0]["replacement"], running=False)
            again = (await second.post(ALERTS, group, "monitoring")).json()["alerts"][0]
        assert {answer.status_code for answer in answers} == {200}
        assert sorted(one["result"] for one in acted) == ["repeated"] * 7 + ["started"]
        assert len({one["replacement"] for one in [*acted, again]}) == 1
        assert (ended["outcome"], ended["requested_by"], ended["replica"]) == (
            "planned",
            "monitoring",
            "kube-etcd-1",
        )
        assert ended["incident"].startswith("EtcdMemberDown 85cc88d9041e7492@2026-")

    async def test_one_that_may_start_a_replacement_waits_for_somebody(
        self, client: Client, apis: Apis, script: Script, user_cluster: str
    ) -> None:
        api = apis.one(alert_action=AlertAction.REQUIRE_APPROVAL)
        group = recorded("firing", user_cluster)
        twin = json.loads(json.dumps(group).replace("85cc88d9041e7492", "another"))
        async with working(client, script):
            acted = (await api.post(ALERTS, group, "monitoring")).json()["alerts"][0]
            await standing(api, acted["replacement"], phase="waiting_for_approval")
            other = (await api.post(ALERTS, twin, "monitoring")).json()["alerts"][0]
            over = (await api.post(ALERTS, recorded("resolved", user_cluster), "monitoring")).json()[
                "alerts"
            ][0]
            still = await standing(api, acted["replacement"])
            assert (await api.post(f"/v1/replacements/{user_cluster}/decline")).status_code == 200
        assert (other["result"], other["replacement"]) == ("already_runs", acted["replacement"])
        assert (over["result"], over["replacement"]) == ("noted", acted["replacement"])
        assert still["phase"] == "waiting_for_approval"
        noted = [event for event in await api.audit(acted["replacement"]) if event.kind == "alert"]
        assert [event.data["state"] for event in noted] == ["resolved"]
        assert noted[0].data["labels"]["user_cluster"] == user_cluster

    async def test_one_that_is_over_starts_nothing(self, api: Api, client: Client, user_cluster: str) -> None:
        answer = await api.post(ALERTS, recorded("resolved", user_cluster), "monitoring")
        assert answer.json()["alerts"][0] == {
            "alert": answer.json()["alerts"][0]["alert"],
            "result": "noted",
            "replacement": None,
            "detail": "",
        }
        assert (await api.get(f"/v1/replacements/{user_cluster}")).status_code == 404

    async def test_what_it_cannot_use_is_ignored_since_alertmanager_does_not_send_it_better(
        self, api: Api, user_cluster: str
    ) -> None:
        group = recorded("firing", user_cluster)
        bare, odd = json.loads(json.dumps(group["alerts"])), json.loads(json.dumps(group["alerts"]))
        del bare[0]["labels"]["user_cluster"]
        odd[0]["labels"]["user_cluster"] = "No Namespace"
        answer = await api.post(ALERTS, group | {"alerts": bare + odd}, "monitoring")
        assert answer.status_code == 200
        assert [(one["result"], one["detail"]) for one in answer.json()["alerts"]] == [
            ("ignored", "it has no label user_cluster"),
            ("ignored", "not usable: user_cluster"),
        ]

    async def test_without_the_store_it_is_sent_again(self, apis: Apis, user_cluster: str) -> None:
        api = apis.one(audit="")
        answer = await api.post(ALERTS, recorded("firing", user_cluster), "monitoring")
        assert answer.status_code == 503
        assert answer.headers["retry-after"]


def event(user_cluster: str, kind: str = "incident.triggered", *, age: timedelta = timedelta()) -> bytes:
    """A webhook v3, as https://developer.pagerduty.com/docs/webhooks-overview has it."""
    return json.dumps(
        {
            "event": {
                "id": "01DEN0V2UPAHJ5DTGV6CNDFZYQ",
                "event_type": kind,
                "resource_type": "incident",
                "occurred_at": (datetime.now(UTC) - age).isoformat(),
                "agent": None,
                "client": None,
                "data": {
                    "id": f"Q1{user_cluster[-8:]}",
                    "type": "incident",
                    "html_url": "https://acme.pagerduty.com/incidents/PGR0VU2",
                    "title": f"etcd member kube-etcd-1 of {user_cluster} is down",
                    "status": "triggered",
                },
            }
        }
    ).encode()


def signed(body: bytes, *secrets: str) -> str:
    """The header, with a signature for each secret."""
    return ",".join("v1=" + hmac.new(one.encode(), body, hashlib.sha256).hexdigest() for one in secrets)


class TestPagerDuty:
    """Signed bodies."""

    @pytest.fixture
    def api(self, apis: Apis, tmp_path: Path) -> Api:
        (tmp_path / "secrets").write_text(f"{SECRET}\n")
        return apis.one(pagerduty_secrets_file=tmp_path / "secrets")

    async def send(self, api: Api, body: bytes, signature: str | None) -> Any:
        headers = {b"Content-Type": b"application/json"}
        if signature is not None:
            headers[b"X-PagerDuty-Signature"] = signature.encode()
        async with api.by(None) as http:
            return await http.post(INCIDENTS, content=body, headers=headers)

    async def test_an_incident_makes_one_plan_however_often_it_is_sent(
        self, client: Client, api: Api, script: Script, user_cluster: str
    ) -> None:
        body = event(user_cluster)
        async with working(client, script):
            first = await self.send(api, body, signed(body, "an older secret", SECRET))
            ended = await standing(api, first.json()["replacement"], running=False)
            replayed = await self.send(api, body, signed(body, SECRET))
            over = event(user_cluster, "incident.resolved")
            noted = await self.send(api, over, signed(over, SECRET))
        assert (first.status_code, first.json()["result"]) == (200, "started")
        assert (ended["outcome"], ended["replica"], ended["requested_by"]) == (
            "planned",
            "kube-etcd-1",
            "pagerduty",
        )
        assert [one.json()["result"] for one in (replayed, noted)] == ["repeated", "noted"]
        assert replayed.json()["replacement"] == noted.json()["replacement"] == first.json()["replacement"]

    @pytest.mark.parametrize("signature", [None, "", "v1=", "v1=" + "0" * 64, "v0=é", "v1=é"])
    async def test_what_is_not_signed_is_not_read(
        self, api: Api, user_cluster: str, signature: str | None
    ) -> None:
        body = event(user_cluster)
        answer = await self.send(api, body, signature)
        assert (answer.status_code, answer.json()["type"]) == (401, "urn:replace-etcd:bad-signature")
        tampered = await self.send(api, body.replace(b"kube-etcd-1", b"kube-etcd-2"), signed(body, SECRET))
        assert tampered.status_code == 401

    @pytest.mark.parametrize(
        ("kind", "age", "why"),
        [
            ("incident.triggered", timedelta(days=1), "too old"),
            ("incident.triggered", -timedelta(hours=1), "of the future"),
            ("incident.acknowledged", timedelta(), "leads to nothing"),
        ],
    )
    async def test_what_is_signed_and_leads_to_nothing_is_taken(
        self, api: Api, user_cluster: str, kind: str, age: timedelta, why: str
    ) -> None:
        body = event(user_cluster, kind, age=age)
        answer = await self.send(api, body, signed(body, SECRET))
        assert (answer.status_code, answer.json()["result"]) == (200, "ignored")
        assert re.search(why, answer.json()["detail"])

    async def test_its_test_event_is_taken(self, api: Api) -> None:
        ping = {"id": "x", "event_type": "pagey.ping", "occurred_at": "2026-01-01T00:00:00Z"}
        body = json.dumps({"event": ping | {"data": {"message": "Hello from your friend Pagey!"}}}).encode()
        answer = await self.send(api, body, signed(body, SECRET))
        assert (answer.status_code, answer.json()["result"]) == (200, "ignored")

    async def test_where_it_is_not_set_up_it_is_not_there(self, apis: Apis) -> None:
        answer = await self.send(apis.one(), b"{}", signed(b"{}", ""))
        assert answer.status_code == 404
