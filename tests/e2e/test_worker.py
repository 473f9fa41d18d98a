"""The worker as a process: it says in one sentence why it cannot start, and it stops when asked."""

import asyncio
import json
import os
import signal
import sys
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import pytest
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client

from lab.control_plane import ControlPlane
from lab.kubeconfig import write_kubeconfig
from lab.pki import AdminPki
from lab.temporal_server import running_temporal
from replace_etcd.search_attributes import ALL
from tests.lab.conftest import control_plane, pki

__all__ = ["control_plane", "pki"]

NOBODY = "127.0.0.1:1"


async def start(**environment: str) -> asyncio.subprocess.Process:
    spec = find_spec("worker")
    assert spec is not None
    assert spec.origin is not None
    inherited = {
        k: v for k, v in os.environ.items() if not k.startswith(("TEMPORAL_", "REPLACE_ETCD_", "KUBE"))
    }
    return await asyncio.create_subprocess_exec(
        sys.executable,
        spec.origin,
        env={**inherited, "REPLACE_ETCD_LOG_FORMAT": "json", **environment},
        stderr=asyncio.subprocess.PIPE,
    )


async def last_words(worker: asyncio.subprocess.Process) -> str:
    async with asyncio.timeout(60):
        _, errors = await worker.communicate()
    assert worker.returncode == 2
    text = errors.decode()
    assert "Traceback" not in text
    return text


async def test_without_temporal_it_names_the_address_and_the_way_out() -> None:
    words = await last_words(await start(TEMPORAL_ADDRESS=NOBODY))
    assert NOBODY in words
    assert "set TEMPORAL_ADDRESS" in words


async def test_a_wrong_setting_is_named() -> None:
    words = await last_words(await start(REPLACE_ETCD_EVICTION_GRACE_SECONDS="soon"))
    assert "REPLACE_ETCD_EVICTION_GRACE_SECONDS" in words


async def test_without_an_admin_cluster_it_says_so(tmp_path: Path) -> None:
    missing, unreachable = tmp_path / "missing", tmp_path / "unreachable"
    unreachable.write_text(UNREACHABLE)
    async with running_temporal(tmp_path) as temporal:
        for named, said in (
            ({}, "set KUBECONFIG"),
            ({"KUBECONFIG": str(missing)}, str(missing)),
            ({"KUBECONFIG": str(unreachable)}, "no answer"),
        ):
            assert said in await last_words(await start(TEMPORAL_ADDRESS=temporal.address, **named))


@pytest.mark.parametrize("control_plane", ["simulated"], indirect=True)
async def test_a_certificate_that_has_expired_is_named(
    tmp_path: Path, control_plane: ControlPlane, pki: AdminPki
) -> None:
    expired = pki.client("expired", lifetime=timedelta(seconds=-1))
    path = tmp_path / "kubeconfig"
    write_kubeconfig(path, server=control_plane.url, ca=pki.ca, client=expired)
    async with running_temporal(tmp_path) as temporal:
        words = await last_words(await start(TEMPORAL_ADDRESS=temporal.address, KUBECONFIG=str(path)))
    assert "its client certificate (expired) expired 20" in words
    assert "renew it in the kubeconfig, and restart the worker" in words


@pytest.mark.parametrize("control_plane", ["simulated"], indirect=True)
async def test_it_registers_the_search_attributes_and_stops_when_asked(
    tmp_path: Path,
    control_plane: ControlPlane,
) -> None:
    async with running_temporal(tmp_path) as temporal:
        worker = await start(TEMPORAL_ADDRESS=temporal.address, KUBECONFIG=str(control_plane.kubeconfig))
        assert worker.stderr is not None
        async with asyncio.timeout(60):
            line = json.loads(await worker.stderr.readline())
            assert line["event"] == "worker ready"
            client = await Client.connect(temporal.address)
            known = await client.operator_service.list_search_attributes(
                ListSearchAttributesRequest(namespace="default")
            )
            assert {key.name for key in ALL} <= set(known.custom_attributes)
            worker.send_signal(signal.SIGTERM)
            assert await worker.wait() == 0


UNREACHABLE = """
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
"""
