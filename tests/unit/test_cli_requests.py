"""What is sent to Temporal: only what was asked for, under an id that keeps a second replacement out."""

from __future__ import annotations

import json
from pathlib import Path

from replace_etcd import replacements
from replace_etcd.cli import requests


def test_only_what_was_asked_for_is_sent() -> None:
    request = requests.build_request({}, {"user_cluster": "user-cluster-1", "node": None, "drain": "replica"})
    assert replacements.payload(request) == {"user_cluster": "user-cluster-1", "drain": "replica"}


def test_options_win_over_the_input() -> None:
    given = requests.read_input('{"user_cluster": "user-cluster-1", "reason": "disk", "incident": "INC-1"}')
    request = requests.build_request(given, {"incident": "INC-2", "reason": None})
    assert (request.user_cluster, request.reason, request.incident) == ("user-cluster-1", "disk", "INC-2")


def test_the_input_may_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_text(json.dumps({"user_cluster": "user-cluster-1"}))
    assert requests.read_input(f"@{file}") == {"user_cluster": "user-cluster-1"}


def test_limits_are_sent_as_any_tool_writes_them() -> None:
    request = requests.build_request({"user_cluster": "a", "limits": {"drain": "PT10M"}}, {})
    assert replacements.payload(request)["limits"] == {"drain": "PT10M"}


def test_a_user_cluster_has_one_replacement_and_any_number_of_plans() -> None:
    replacement = requests.build_request({"user_cluster": "a"}, {})
    plan = requests.build_request({"user_cluster": "a", "dry_run": True}, {})
    assert replacements.workflow_id(replacement) == "replace-etcd.a"
    first, second = replacements.workflow_id(plan), replacements.workflow_id(plan)
    assert first.startswith("plan-etcd.a.")
    assert first != second


def test_a_replacement_is_named_by_its_user_cluster_or_its_id() -> None:
    assert replacements.workflow_id_of("user-cluster-1") == "replace-etcd.user-cluster-1"
    assert replacements.workflow_id_of("plan-etcd.user-cluster-1.x") == "plan-etcd.user-cluster-1.x"


def test_the_page_of_the_workflow_says_who_asked_for_what_and_why() -> None:
    request = requests.build_request(
        {"user_cluster": "a", "failed_replica": "kube-etcd-1", "incident": "INC-7", "requested_by": "ann"}, {}
    )
    assert replacements.summary(request) == "replace kube-etcd-1 of a (INC-7)"
    assert "- requested_by: ann" in replacements.static_details(request)
