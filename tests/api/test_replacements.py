"""`/v1/replacements`: a start, what becomes of it, and answers to it, with a real Temporal and the real workflow."""

from __future__ import annotations

import asyncio
import html
import re
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import httpx
import pytest
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from replace_etcd import replacements
from replace_etcd.api import pages
from replace_etcd.audit.store import AuditStore
from replace_etcd.models.orders import Preflighted
from replace_etcd.models.request import ReplacementRequest
from tests.api.conftest import Api, Apis, standing, working
from tests.audit import postgres
from tests.audit.conftest import Run
from tests.workflows.script import REFUSING, Script


async def test_a_start_is_accepted_and_followed_to_its_end(
    client: Client, api: Api, script: Script, user_cluster: str
) -> None:
    begun = script.block("drain_node")
    async with working(client, script):
        answer = await api.post(
            "/v1/replacements",
            {"user_cluster": user_cluster, "failed_replica": "kube-etcd-1", "requested_by": "mallory"},
        )
        assert answer.status_code == 202, answer.text
        run_id = answer.json()["id"]
        assert answer.headers["location"] == f"/v1/replacements/{run_id}"
        await begun.wait()
        seen = (await api.get(answer.headers["location"])).json()
        assert (seen["running"], seen["worker"], seen["phase"]) == (True, True, "draining")
        assert (seen["requested_by"], seen["current"]) == ("ann", "drain_node")
        assert (await api.get(f"/v1/replacements/{user_cluster}")).json()["id"] == run_id
        script.release("drain_node")
        ended = await standing(api, run_id, running=False)
    assert (ended["outcome"], ended["phase"]) == ("replaced", "done")
    assert ended["steps"][0]["name"] == "preflight"
    events = await api.audit(run_id)
    assert (events[0].kind, events[0].data["by"]) == ("requested", "ann")


async def test_a_refusal_is_told_with_its_reason(
    client: Client, api: Api, script: Script, user_cluster: str
) -> None:
    script.answers["preflight"] = Preflighted(plan=REFUSING)
    async with working(client, script):
        answer = await api.post("/v1/replacements", {"user_cluster": user_cluster})
        ended = await standing(api, answer.json()["id"], running=False)
    assert ended["outcome"] == "refused"
    assert "1 of 3 (recover it)" in ended["reason"]


async def test_a_long_incident_in_any_script_ends_no_run(
    client: Client, api: Api, script: Script, user_cluster: str
) -> None:
    body = {"user_cluster": user_cluster, "incident": "\N{SNOWMAN}\U0001f525" * 500, "dry_run": True}
    async with working(client, script):
        answer = await api.post("/v1/replacements", body)
        ended = await standing(api, answer.json()["id"], running=False)
    assert ended["outcome"] == "planned"


async def test_a_second_one_is_refused_and_names_the_one_that_runs(
    client: Client, api: Api, script: Script, user_cluster: str
) -> None:
    script.block("drain_node")
    async with working(client, script):
        first = await api.post("/v1/replacements", {"user_cluster": user_cluster})
        second = await api.post("/v1/replacements", {"user_cluster": user_cluster}, "bob")
        script.release("drain_node")
    assert (second.status_code, second.json()["type"]) == (409, "urn:replace-etcd:already-runs")
    assert second.json()["replacement"] == first.json()["id"]
    assert second.headers["location"] == first.headers["location"]


async def test_where_nobody_works_it_says_so(apis: Apis, user_cluster: str) -> None:
    api = apis.one(queue="nobody-polls-this", answer_seconds=0.5)
    answer = await api.post("/v1/replacements", {"user_cluster": user_cluster})
    assert answer.status_code == 202
    assert "no worker polls the task queue nobody-polls-this" in answer.json()["warnings"][0]
    seen = (await api.get(answer.headers["location"])).json()
    assert (seen["running"], seen["worker"], seen["user_cluster"]) == (True, False, user_cluster)
    told = await api.post(f"{answer.headers['location']}/abort", name="bob")
    listed = (await api.get(f"/v1/replacements?user_cluster={user_cluster}")).json()["items"]
    assert [item["run_id"] for item in listed] == [answer.json()["id"]]
    assert told.status_code == 503


async def unreachable(*_: object, **__: object) -> None:
    raise RPCError("connection refused", RPCStatusCode.UNAVAILABLE, b"")


async def test_a_start_is_accepted_also_where_nobody_can_say_whether_a_worker_polls(
    apis: Apis, user_cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = apis.one(queue="nobody-polls-this")
    monkeypatch.setattr(replacements, "has_worker", unreachable)
    answer = await api.post("/v1/replacements", {"user_cluster": user_cluster, "dry_run": True})
    assert answer.status_code == 202
    assert "connection refused" in answer.json()["warnings"][0]
    seen = await api.get(answer.headers["location"])
    assert (seen.status_code, seen.json()["type"]) == (503, "urn:replace-etcd:unavailable")


async def test_while_temporal_does_not_answer_no_run_is_said_to_have_ended_without_an_end(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, over = Run(user_cluster="it-runs"), Run(user_cluster="it-is-over")
    await api.services.audit.ask(lambda store: store.append([*runs.whole()[:2], *over.whole()]))
    monkeypatch.setattr(WorkflowHandle, "describe", unreachable)
    assert (await api.get("/v1/replacements/it-runs")).status_code == 503
    ended = (await api.get("/v1/replacements/it-is-over")).json()
    assert (ended["running"], ended["outcome"]) == (False, "replaced")


async def test_one_that_holds_says_why(client: Client, api: Api, script: Script, user_cluster: str) -> None:
    script.fail("add_member", "NoProgress")
    guarding = script.block("stand_guard")
    async with working(client, script):
        run_id = (await api.post("/v1/replacements", {"user_cluster": user_cluster})).json()["id"]
        await guarding.wait()
        holds = await standing(api, run_id, phase="held", waiting_for="resolve")
        body = {"choice": "abandon"}
        assert (await api.post(f"/v1/replacements/{run_id}/resolve", body, "bob")).status_code == 200
        await standing(api, run_id, running=False)
    assert holds["reason"].startswith("add_member: ")


async def runs_of(client: Client, user_cluster: str) -> int:
    """How many runs Temporal lists; the newest of them has ended, so that the list has come that far."""
    return (await client.count_workflows(f"EtcdUserCluster = '{user_cluster}'")).count


class TestARepeat:
    """The same key finds the same run."""

    @pytest.mark.parametrize("how", ["key", "incident"])
    async def test_also_after_the_end(
        self, client: Client, apis: Apis, script: Script, user_cluster: str, how: str
    ) -> None:
        api, other = apis.one(), apis.one()
        body = {"user_cluster": user_cluster, "reason": "disk"} | (
            {"incident": "INC-7"} if how == "incident" else {}
        )
        headers = {"Idempotency-Key": "k-1"} if how == "key" else {}
        async with working(client, script):
            first = await api.post("/v1/replacements", body, **headers)
            during = await other.post("/v1/replacements", body, **headers)
            await standing(api, first.json()["id"], running=False)
            after = await other.post("/v1/replacements", body, **headers)
        assert [answer.status_code for answer in (first, during, after)] == [202, 200, 200]
        assert len({answer.headers["location"] for answer in (first, during, after)}) == 1
        assert await runs_of(client, user_cluster) == 1
        other_body = await api.post("/v1/replacements", body | {"reason": "another"}, **headers)
        assert (other_body.status_code, other_body.json()["type"]) == (422, "urn:replace-etcd:key-reused")

    @pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
    async def test_from_two_processes_at_once(
        self, client: Client, apis: Apis, script: Script, user_cluster: str, kind: str
    ) -> None:
        body = {"user_cluster": user_cluster, "incident": "INC-8", "dry_run": True}
        with postgres.running() if kind == "postgresql" else nullcontext(apis.audit) as audit:
            one, other = apis.one(audit=audit), apis.one(audit=audit)
            async with working(client, script):
                answers = await asyncio.gather(
                    *(
                        api.post("/v1/replacements", body, name)
                        for api in (one, other)
                        for name in ("ann", "bob", "ann", "bob")
                    )
                )
                await standing(one, answers[0].json()["id"], running=False)
            await asyncio.gather(one.services.audit.close(), other.services.audit.close())
        assert sorted(answer.status_code for answer in answers) == [200] * 7 + [202]
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert await runs_of(client, user_cluster) == 1

    async def test_a_start_that_failed_does_not_use_the_key_up(
        self, client: Client, api: Api, script: Script, user_cluster: str
    ) -> None:
        begun = script.block("drain_node")
        key = {"Idempotency-Key": "mine"}
        async with working(client, script):
            first = await api.post("/v1/replacements", {"user_cluster": user_cluster})
            await begun.wait()
            refused = await api.post("/v1/replacements", {"user_cluster": user_cluster}, **key)
            script.release("drain_node")
            await standing(api, first.json()["id"], running=False)
            second = await api.post("/v1/replacements", {"user_cluster": user_cluster}, **key)
        assert (refused.status_code, second.status_code) == (409, 202)
        assert second.json()["id"] != first.json()["id"]

    async def test_the_run_of_a_process_that_died_after_the_start_is_found_by_its_memo(
        self, client: Client, apis: Apis, script: Script, user_cluster: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        api, body, key = apis.one(), {"user_cluster": user_cluster}, {"Idempotency-Key": "k"}
        async with working(client, script):
            with monkeypatch.context() as patched:
                patched.setattr(AuditStore, "remember", lambda *_: None)
                first = await api.post("/v1/replacements", body, **key)
            await standing(api, first.json()["id"], running=False)
            monkeypatch.setattr("replace_etcd.audit.idempotency.CLAIM_LASTS", timedelta(days=-1))
            second = await apis.one().post("/v1/replacements", body, **key)
        assert (second.status_code, second.json()["id"]) == (200, first.json()["id"])

    @pytest.mark.parametrize("dry_run", [True, False])
    async def test_a_start_without_an_answer_is_found_and_not_started_again(
        self,
        client: Client,
        api: Api,
        script: Script,
        user_cluster: str,
        monkeypatch: pytest.MonkeyPatch,
        dry_run: bool,
    ) -> None:
        """A plan has an id of its own each time; a replacement may have been followed by another one."""
        body, key = {"user_cluster": user_cluster, "dry_run": dry_run}, {"Idempotency-Key": "k"}
        start, lost = replacements.start, []

        async def unanswered(*words: Any, **more: Any) -> None:
            lost.append(await start(*words, **more))
            raise RPCError("Timeout expired", RPCStatusCode.DEADLINE_EXCEEDED, b"")

        async with working(client, script):
            with monkeypatch.context() as patched:
                patched.setattr(replacements, "start", unanswered)
                first = await api.post("/v1/replacements", body, **key)
            (run,) = lost
            await replacements.ending(run)
            between = await api.post("/v1/replacements", body, **{"Idempotency-Key": "another"})
            await standing(api, between.json()["id"], running=False)
            other = await api.post("/v1/replacements", body | {"reason": "another"}, **key)
            repeats = [await api.post("/v1/replacements", body, **key) for _ in range(2)]
        assert (first.status_code, between.status_code, other.status_code) == (503, 202, 422)
        assert [(again.status_code, again.json()["id"]) for again in repeats] == [(200, run.run_id)] * 2

    async def test_a_start_that_did_not_get_through_is_started_by_the_repeat(
        self, client: Client, api: Api, script: Script, user_cluster: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        body, key = {"user_cluster": user_cluster}, {"Idempotency-Key": "k"}
        with monkeypatch.context() as patched:
            patched.setattr(replacements, "start", unreachable)
            first = await api.post("/v1/replacements", body, **key)
        async with working(client, script):
            second = await api.post("/v1/replacements", body, **key)
            ended = await standing(api, second.json()["id"], running=False)
        assert (first.status_code, second.status_code, ended["outcome"]) == (503, 202, "replaced")

    async def test_another_token_has_its_own_keys(
        self, client: Client, api: Api, script: Script, user_cluster: str
    ) -> None:
        key = {"Idempotency-Key": "k"}
        async with working(client, script):
            first = await api.post("/v1/replacements", {"user_cluster": user_cluster, "dry_run": True}, **key)
            second = await api.post(
                "/v1/replacements", {"user_cluster": user_cluster, "dry_run": True}, "bob", **key
            )
        assert (first.status_code, second.status_code) == (202, 202)
        assert first.json()["id"] != second.json()["id"]


class TestWithoutItsStore:
    """A store that cannot be reached never stops a repair."""

    async def test_a_start_goes_on_and_says_what_is_lost(
        self, client: Client, apis: Apis, script: Script, user_cluster: str
    ) -> None:
        api = apis.one(audit="postgresql://nobody@127.0.0.1:1/none")
        body = {"user_cluster": user_cluster, "incident": "INC-9"}
        begun = script.block("drain_node")
        async with working(client, script):
            first = await api.post("/v1/replacements", body)
            await begun.wait()
            repeat = await api.post("/v1/replacements", body)
            seen = await api.get(first.headers["location"])
            script.release("drain_node")
            ended = await standing(api, first.json()["id"], running=False)
        assert (first.status_code, repeat.status_code) == (202, 200)
        assert "cannot be used" in first.json()["warnings"][0]
        assert (seen.json()["running"], ended["outcome"]) == (True, "replaced")
        assert (await api.get("/v1/replacements")).status_code == 503
        assert (await api.get(f"/v1/replacements/{first.json()['id']}/audit")).status_code == 503


class TestFourEyes:
    """Who asks is who the token is, and does not approve as well."""

    async def test_the_starter_cannot_approve_and_somebody_else_can(
        self, client: Client, api: Api, script: Script, user_cluster: str
    ) -> None:
        body = {"user_cluster": user_cluster, "require_approval": True, "requested_by": "bob"}
        async with working(client, script):
            run_id = (await api.post("/v1/replacements", body)).json()["id"]
            waiting = await standing(api, run_id, phase="waiting_for_approval")
            own = await api.post(f"/v1/replacements/{run_id}/approve", {"approver": "bob"}, "ann")
            after = await standing(api, run_id)
            other = await api.post(f"/v1/replacements/{run_id}/approve", {"comment": "go"}, "bob")
            ended = await standing(api, run_id, running=False)
        assert waiting["choices"] == ["approve", "decline"]
        assert (own.status_code, own.json()["type"]) == (403, "urn:replace-etcd:four-eyes")
        assert after["phase"] == "waiting_for_approval"
        assert (other.status_code, other.json()["by"]) == (200, "bob")
        assert ended["outcome"] == "replaced"
        rejected = [event for event in await api.audit(run_id) if event.kind == "rejected"]
        assert [(event.data["update"], event.data["by"]) for event in rejected] == [("approve", "ann")]

    async def test_the_starter_may_decline(
        self, client: Client, api: Api, script: Script, user_cluster: str
    ) -> None:
        async with working(client, script):
            begun = await api.post(
                "/v1/replacements", {"user_cluster": user_cluster, "require_approval": True}
            )
            run_id = begun.json()["id"]
            await standing(api, run_id, phase="waiting_for_approval")
            assert (await api.post(f"/v1/replacements/{run_id}/decline")).status_code == 200
            ended = await standing(api, run_id, running=False)
        assert (ended["outcome"], "ann" in ended["reason"]) == ("declined", True)


class TestAnswers:
    """What is not taken is a problem, and stands in the audit."""

    async def test_one_that_nobody_waits_for(
        self, client: Client, api: Api, script: Script, user_cluster: str
    ) -> None:
        begun = script.block("drain_node")
        script.requests_cancellation_of = client.get_workflow_handle(f"replace-etcd.{user_cluster}")
        async with working(client, script):
            run_id = (await api.post("/v1/replacements", {"user_cluster": user_cluster})).json()["id"]
            await begun.wait()
            resolve = await api.post(
                f"/v1/replacements/{run_id}/resolve", {"choice": "retry", "reason": "now"}, "bob"
            )
            node = await api.post(f"/v1/replacements/{run_id}/confirm-node-down", None, "bob")
            abort = await api.post(
                f"/v1/replacements/{run_id}/abort", {"reason": "wrong one", "by": "eve"}, "bob"
            )
            script.release("drain_node")
            ended = await standing(api, run_id, running=False)
        late = await api.post(f"/v1/replacements/{run_id}/abort", None, "bob")
        assert [answer.status_code for answer in (resolve, node, abort, late)] == [409, 409, 200, 409]
        assert "does not wait for resolve retry: it is draining" in resolve.json()["detail"]
        assert ended["outcome"] == "cancelled"
        rejected = [event.data for event in await api.audit(run_id) if event.kind == "rejected"]
        assert [one["update"] for one in rejected] == ["resolve", "confirm_node_down", "abort"]
        assert rejected[0]["said"] == {"choice": "retry", "by": "bob", "reason": "now"}

    async def test_of_a_run_that_nobody_knows(self, api: Api) -> None:
        for path in ("", "/audit"):
            for name in ("no-such-cluster", "019abc2e-8b1f-7c52-9d6e-2f4a6c0d9e11"):
                answer = await api.get(f"/v1/replacements/{name}{path}")
                assert (answer.status_code, answer.json()["type"]) == (404, "urn:replace-etcd:not-found")
        assert (await api.post("/v1/replacements/no-such-cluster/abort")).status_code == 404


class TestTheList:
    """It comes from the audit, in pages."""

    async def test_is_filtered_and_paged(self, client: Client, api: Api, script: Script) -> None:
        async with working(client, script):
            ids = []
            for number in range(3):
                wanted = ReplacementRequest(
                    user_cluster=f"listed-{number}", incident=f"INC-{number % 2}", dry_run=True
                )
                answer = await api.post(
                    "/v1/replacements", wanted.model_dump(mode="json", exclude_unset=True)
                )
                ids.append(answer.json()["id"])
                await standing(api, ids[-1], running=False)
        first = (await api.get("/v1/replacements?plans=true&limit=2")).json()
        second = (await api.get(f"/v1/replacements?plans=true&limit=2&cursor={first['next_cursor']}")).json()
        assert [item["run_id"] for item in first["items"] + second["items"]] == ids[::-1]
        assert second["next_cursor"] is None
        of_one = (
            await api.get("/v1/replacements?plans=true&incident=INC-0&since=2020-01-01T00:00:00")
        ).json()
        assert [item["user_cluster"] for item in of_one["items"]] == ["listed-2", "listed-0"]
        assert (await api.get("/v1/replacements?plans=true&until=2020-01-01")).json()["items"] == []
        story = (await api.get(f"/v1/replacements/{ids[0]}/audit")).json()
        assert story["replacement"]["requested_by"] == story["events"][0]["data"]["by"] == "ann"

    async def test_a_browser_sees_the_list_and_each_story(
        self, client: Client, api: Api, script: Script, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pages, "ON_A_PAGE", 1)
        async with working(client, script):
            for name in ("<script>", "second"):
                body = {"user_cluster": "seen-in-a-browser", "incident": name, "dry_run": True}
                run_id = (await api.post("/v1/replacements", body)).json()["id"]
                await standing(api, run_id, running=False)
        password = httpx.BasicAuth("", api.secrets["reader"])
        first = await api.get("/replacements?plans=true", None, auth=password)
        assert (first.status_code, run_id in first.text) == (200, True)
        link = re.search(r'href="(/replacements\?[^"]+)"', first.text)
        assert link is not None
        second = await api.get(html.unescape(link[1]), None, auth=password)
        assert "&lt;script&gt;" in second.text
        assert "<script" not in second.text
        assert run_id not in second.text
        story = await api.get(f"/replacements/{run_id}", None, auth=password)
        assert (story.status_code, "seen-in-a-browser" in story.text) == (200, True)
        assert "<script" not in story.text
        assert story.headers["content-type"].startswith("text/html")
