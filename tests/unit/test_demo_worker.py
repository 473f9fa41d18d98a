"""The worker that the demo and the benchmarks start: it polls the queue that it is waited for on."""

from pathlib import Path

import pytest

from replace_etcd.cli.demo.worker import worker_process


@pytest.fixture
def interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that only tells its environment."""
    told = tmp_path / "python"
    told.write_text("#!/bin/sh\nexec env\n")
    told.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(told))


@pytest.mark.usefixtures("interpreter")
async def test_it_polls_the_queue_that_is_asked_for_and_keeps_its_own_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the caller's environment says of the queue, of Temporal, and of the audit."""
    monkeypatch.setenv("REPLACE_ETCD_TASK_QUEUE", "another")
    monkeypatch.setenv("REPLACE_ETCD_AUDIT", "sqlite:////the/real/one.db")
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "another")
    worker = worker_process(tmp_path, "127.0.0.1:1", tmp_path / "kubeconfig", "benchmarks", api_qps=5)
    await worker.start()
    await worker.wait()
    lines = worker.log.read_text().splitlines()
    assert "REPLACE_ETCD_TASK_QUEUE=benchmarks" in lines
    assert f"REPLACE_ETCD_AUDIT=sqlite:///{tmp_path / 'audit.db'}" in lines
    assert "REPLACE_ETCD_API_QPS=5" in lines
    assert not [line for line in lines if line.startswith("TEMPORAL_NAMESPACE=")]
