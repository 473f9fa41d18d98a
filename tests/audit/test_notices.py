"""Notices against a local receiver: what each is sent, what is signed, and that a retry tells nobody twice."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.notifications import NotificationActivities
from activities.step import TemporalIdentity, Toolbox
from replace_etcd.models.notice import Asks, Notice
from replace_etcd.models.orders import NoticeOrder
from replace_etcd.models.result import Outcome
from replace_etcd.receivers import SEVERITIES, Receivers, pagerduty
from replace_etcd.settings import Settings

SECRET = "s3cret"


class Receiver:
    """What came in, by path; answers with the status that is set for it."""

    def __init__(self, url: str = "") -> None:
        self.url = url
        self.came: dict[str, list[tuple[dict[str, str], bytes]]] = {}
        self.status: dict[str, int] = {}
        self.silent: set[str] = set()
        self.goes = asyncio.Event()

    async def take(self, request: web.Request) -> web.Response:
        self.came.setdefault(request.path, []).append((dict(request.headers), await request.read()))
        if request.path in self.silent:
            await self.goes.wait()
        return web.Response(status=self.status.get(request.path, 200))

    def bodies(self, path: str) -> list[Any]:
        return [json.loads(body) for _, body in self.came.get(path, [])]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    server = web.Application()
    server.router.add_post("/{path:.*}", made.take)
    runner = web.AppRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    made.goes.set()
    await runner.cleanup()


def settings(receiver: Receiver, **changes: Any) -> Settings:
    return Settings(
        notify_webhook_url=f"{receiver.url}/webhook",
        notify_webhook_secret=SECRET,
        notify_slack_url=f"{receiver.url}/slack/T0/secret-path",
        notify_pagerduty_key="routing-key",
        notify_pagerduty_url=f"{receiver.url}/pagerduty",
        **changes,
    )


def notice(event: Asks | Outcome = Asks.HELD, **fields: Any) -> Notice:
    return Notice(
        key="run-1:0007",
        event=event,
        at=datetime(2026, 3, 1, 3, tzinfo=UTC),
        workflow_id="replace-etcd.user-cluster-1",
        run_id="run-1",
        user_cluster="user-cluster-1",
        replica="kube-etcd-1",
        incident="INC-7",
        reason="add_member: <no quorum>",
        choices=["resolve retry"],
        **fields,
    )


async def send(receivers: Receivers | None, told: Notice, *, before: str = "") -> str:
    """One attempt of the activity, with the last heartbeat of the one before."""
    environment = ActivityEnvironment()
    if before:
        environment.info = type(environment.info)(
            **environment.info.__dict__ | {"heartbeat_details": [before]}
        )
    beats: list[str] = []
    environment.on_heartbeat = lambda *words: beats.extend(map(str, words))
    tools = Toolbox(None, Settings(), TemporalIdentity("", ""), None, messenger=receivers)  # type: ignore[arg-type]
    try:
        done = await environment.run(
            NotificationActivities(tools).send_notification, NoticeOrder(notice=told)
        )
    except ApplicationError as error:
        error.details_of_heartbeat = beats  # type: ignore[attr-defined]
        raise
    return done.note


async def test_each_receiver_is_told_in_its_own_words(receiver: Receiver) -> None:
    await send(Receivers.of(settings(receiver)), notice())
    (headers, body), *others = receiver.came["/webhook"]
    assert others == []
    signed = headers["Replace-Etcd-Timestamp"].encode() + b"." + body
    wanted = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert headers["Replace-Etcd-Signature"] == f"v1={wanted}"
    assert headers["Replace-Etcd-Delivery"] == "run-1:0007"
    assert Notice.model_validate_json(body) == notice()
    (text,) = receiver.bodies("/slack/T0/secret-path")
    assert "kube-etcd-1 of user-cluster-1: held (INC-7)" in text["text"]
    assert "&lt;no quorum&gt;" in text["text"]
    (event,) = receiver.bodies("/pagerduty")
    assert (event["routing_key"], event["event_action"]) == ("routing-key", "trigger")
    assert event["dedup_key"] == "replace-etcd/replace-etcd.user-cluster-1"
    assert (event["payload"]["severity"], event["payload"]["source"]) == ("critical", "user-cluster-1")


async def test_a_good_end_resolves_the_alert(receiver: Receiver) -> None:
    for end in (Asks.HELD, Outcome.REPLACED):
        await send(Receivers.of(settings(receiver)), notice(end))
    held, ended = receiver.bodies("/pagerduty")
    assert ended == {key: held[key] for key in ("routing_key", "dedup_key")} | {"event_action": "resolve"}


def test_every_event_either_alerts_or_resolves() -> None:
    for event in (*Asks, *Outcome):
        action = pagerduty(notice(event), "key")["event_action"]
        assert (action == "trigger") == (event in SEVERITIES)


async def test_a_retry_tells_only_those_who_have_not_heard(receiver: Receiver) -> None:
    receivers = Receivers.of(settings(receiver, notify_seconds=0.5))
    receiver.status["/webhook"] = 503
    receiver.silent.add("/pagerduty")
    with pytest.raises(ApplicationError) as caught:
        await send(receivers, notice())
    assert str(caught.value) == "webhook: answers 503; pagerduty: does not answer in time"
    last = caught.value.details_of_heartbeat[-1]  # type: ignore[attr-defined]
    receiver.status.clear()
    receiver.silent.clear()
    note = await send(receivers, notice(), before=last)
    assert note == "told: slack, webhook, pagerduty"
    assert {path: len(came) for path, came in receiver.came.items()} == {
        "/webhook": 2,
        "/slack/T0/secret-path": 1,
        "/pagerduty": 2,
    }


async def test_whoever_has_heard_is_not_forgotten_by_an_attempt_that_is_cut_off(receiver: Receiver) -> None:
    receiver.status["/webhook"] = 503
    with pytest.raises(ApplicationError) as caught:
        await send(Receivers.of(settings(receiver)), notice(), before="told: slack, pagerduty")
    beats = caught.value.details_of_heartbeat  # type: ignore[attr-defined]
    assert list(receiver.came) == ["/webhook"]
    assert set(beats) - {"send_notification"} == {"told: slack, pagerduty"}
    assert beats.count("told: slack, pagerduty") > 1, "before it sends, and after it"


async def test_what_goes_wrong_is_said_without_the_address() -> None:
    receivers = Receivers.of(Settings(notify_slack_url="http://127.0.0.1:1/T0/secret-path"))
    with pytest.raises(ApplicationError) as caught:
        await send(receivers, notice())
    assert "slack: cannot be reached" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "secret-path" not in repr(Settings(notify_slack_url="http://127.0.0.1:1/T0/secret-path"))


async def test_without_a_receiver_nobody_is_told() -> None:
    assert Receivers.of(Settings()) is None
    assert "no receiver" in await send(None, notice())
