"""Whatever is wrong is one sentence that names it and the way out, never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from replace_etcd import logs
from replace_etcd.api import tokens
from replace_etcd.cli import app

HERE = ["--user-cluster", "user-cluster-1"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["start"], "user_cluster is missing; name it with --user-cluster"),
        (["start", "--user-cluster", "Not_A_Label"], "user_cluster: "),
        (["start", *HERE, "--replica", "kube-etcd"], "failed_replica: "),
        (["start", "--input", "{"], "--input is not JSON"),
        (["start", "--input", "[]"], "--input must be a JSON object"),
        (["start", "--input", "@no-such-file"], "--input: no-such-file cannot be read"),
        (
            ["start", *HERE, "--input", '{"replica": "kube-etcd-1"}'],
            "replica: extra inputs are not permitted",
        ),
        (
            ["demo", "--replica", "kube-etcd-7"],
            "--replica: there is no kube-etcd-7; it is kube-etcd-0, kube-etcd-1",
        ),
        (
            ["demo", "--database-size", "big"],
            "--database-size: a size such as 250MB or 1GiB is expected, not 'big'",
        ),
        (
            ["demo", "--json", "no-such-folder/report.json"],
            "--json: no-such-folder/report.json cannot be written",
        ),
        (["lab", "up", "--dir", "x", "--database-size", "big"], "--database-size: "),
    ],
)
def test_bad_input_is_one_sentence(words: list[str], sentence: str) -> None:
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 2
    assert answer.stdout == ""
    assert answer.stderr.startswith("replace-etcd: ")
    assert answer.stderr.count("\n") == 1
    assert sentence in answer.stderr


def test_a_temporal_that_does_not_answer_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:9")
    answer = CliRunner().invoke(app, ["start", *HERE])
    assert answer.exit_code == 2
    assert "Temporal does not answer at 127.0.0.1:9" in answer.stderr
    assert "set TEMPORAL_ADDRESS" in answer.stderr


def test_the_api_asks_the_temporal_that_its_options_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens.add(tmp_path / "tokens", tokens.new_token("ann", ["read"])[1])
    monkeypatch.setenv("REPLACE_ETCD_API_TOKENS_FILE", str(tmp_path / "tokens"))
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:10")
    monkeypatch.setattr(logs, "configure", lambda _: None)
    answer = CliRunner().invoke(app, ["api", "--listen", "127.0.0.1:0", "--address", "127.0.0.1:9"])
    assert answer.exit_code == 2
    assert "Temporal does not answer at 127.0.0.1:9" in answer.stderr


def test_a_lab_that_does_not_run_is_one_sentence(tmp_path: Path) -> None:
    for words in (["status"], ["break", "kube-etcd-1"]):
        answer = CliRunner().invoke(app, ["lab", *words, "--dir", str(tmp_path)])
        assert answer.exit_code == 2
        assert f"no lab answers in {tmp_path}" in answer.stderr


def test_a_directory_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["lab", "status", "--dir", str(tmp_path / "nowhere")])
    assert answer.exit_code == 2
    assert "nowhere" in answer.stderr


def test_a_wrong_setting_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLACE_ETCD_LOG_FORMAT", "xml")
    answer = CliRunner().invoke(app, ["start", *HERE])
    assert answer.exit_code == 2
    assert answer.stderr.startswith("replace-etcd: REPLACE_ETCD_LOG_FORMAT: ")
