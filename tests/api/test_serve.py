"""`replace-etcd api` as a process: TLS, client certificates, an orderly end, and one sentence where it cannot start."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trustme
from cryptography.hazmat.primitives import serialization

import replace_etcd.api
from lab.temporal_server import TemporalServer
from replace_etcd import logs
from replace_etcd.api import tokens
from replace_etcd.cli import api_commands

WITHIN = 60.0


class Process:
    """One that runs, and where it listens."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self._process = process
        self.url = url

    async def end(self) -> int:
        """As systemd and Kubernetes end it."""
        self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(WITHIN):
            return await self._process.wait()


async def begin(*words: str, **environment: str) -> asyncio.subprocess.Process:
    """Start the command with nothing of the caller's settings."""
    own = {
        name: value for name, value in os.environ.items() if not name.startswith(("TEMPORAL_", "REPLACE_"))
    }
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "replace_etcd.cli", "api", *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=own | {"REPLACE_ETCD_LOG_FORMAT": "json", "TEMPORAL_CONFIG_FILE": os.devnull} | environment,
    )


async def said(*words: str, **environment: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one that ends by itself."""
    process = await begin(*words, **environment)
    async with asyncio.timeout(WITHIN):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def environment(server: TemporalServer, tmp_path: Path, authority: trustme.CA) -> dict[str, str]:
    """What a server with TLS needs."""
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    for number, piece in enumerate(certificate.cert_chain_pems):
        piece.write_to_path(tmp_path / "chain.pem", append=number > 0)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    (tmp_path / "encrypted.pem").write_bytes(encrypted(certificate.private_key_pem.bytes()))
    return {
        "TEMPORAL_ADDRESS": server.address,
        "REPLACE_ETCD_AUDIT": f"sqlite:///{tmp_path / 'audit.db'}",
        "REPLACE_ETCD_API_TOKENS_FILE": str(tmp_path / "tokens"),
        "REPLACE_ETCD_API_LISTEN": "127.0.0.1:0",
        "REPLACE_ETCD_API_TLS_CERTIFICATE": str(tmp_path / "chain.pem"),
        "REPLACE_ETCD_API_TLS_KEY": str(tmp_path / "key.pem"),
        "REPLACE_ETCD_API_TLS_CLIENT_CA": str(tmp_path / "ca.pem"),
    }


def encrypted(key: bytes) -> bytes:
    """The same key, for those who know its passphrase."""
    return serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"passphrase"),
    )


@asynccontextmanager
async def serving(environment: dict[str, str]) -> AsyncIterator[Process]:
    """A server while the block runs."""
    process = await begin(**environment)
    assert process.stderr is not None
    try:
        async with asyncio.timeout(WITHIN):
            while b"the API listens" not in (line := await process.stderr.readline()):
                assert line, "it ended before it listened"
        yield Process(process, json.loads(line)["url"])
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_it_serves_with_tls_for_those_with_a_certificate_and_a_token(
    environment: dict[str, str], authority: trustme.CA
) -> None:
    code, secret, _ = await said("token", "ann", "--role", "read", **environment)
    assert code == 0
    trusting = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    presenting = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    authority.issue_cert("client.test").configure_cert(presenting)
    async with serving(environment) as process:
        assert process.url.startswith("https://")
        bearer = {"Authorization": f"Bearer {secret.strip()}"}
        async with httpx.AsyncClient(verify=presenting, base_url=process.url) as http:
            answer = await http.get("/v1/replacements", headers=bearer)
            assert (answer.status_code, answer.json()["items"]) == (200, [])
            assert answer.headers["strict-transport-security"]
            assert "server" not in answer.headers
            assert (await http.get("/v1/replacements")).status_code == 401
        async with httpx.AsyncClient(verify=trusting, base_url=process.url) as http:
            with pytest.raises(httpx.TransportError):
                await http.get("/v1/replacements", headers=bearer)
        assert await process.end() == 0


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"REPLACE_ETCD_API_LISTEN": "somewhere"}, "REPLACE_ETCD_API_LISTEN: write HOST:PORT"),
        ({"REPLACE_ETCD_API_LISTEN": "192.0.2.1:8443"}, "nobody can listen on 192.0.2.1:8443"),
        ({"REPLACE_ETCD_API_TLS_KEY": ""}, "TLS needs REPLACE_ETCD_API_TLS_CERTIFICATE and .*_KEY, both"),
        ({"REPLACE_ETCD_API_TLS_KEY": "/nowhere.pem"}, "/nowhere.pem cannot be read"),
        ({"REPLACE_ETCD_API_TLS_KEY": "{folder}/ca.pem"}, "TLS cannot be used with .*give PEM files"),
        (
            {"REPLACE_ETCD_API_TLS_KEY": "{folder}/encrypted.pem"},
            "the key of TLS is encrypted.*openssl pkey",
        ),
        (
            {"REPLACE_ETCD_API_TOKENS_FILE": "/nowhere"},
            "/nowhere cannot be read .No such file.*api token NAME",
        ),
        ({"REPLACE_ETCD_API_TOKENS_FILE": "{folder}/ca.pem"}, "ca.pem, line 1: write NAME ROLE"),
        ({"REPLACE_ETCD_API_PAGERDUTY_SECRETS_FILE": "/nowhere"}, "secrets of PagerDuty cannot be read"),
        ({"REPLACE_ETCD_API_PAGERDUTY_TITLE": "("}, "REPLACE_ETCD_API_PAGERDUTY_TITLE: is no regular"),
        ({"REPLACE_ETCD_LOG_FORMAT": "xml"}, "REPLACE_ETCD_LOG_FORMAT: "),
        ({"TEMPORAL_ADDRESS": "127.0.0.1:1"}, "Temporal does not answer at 127.0.0.1:1"),
    ],
)
def test_what_is_wrong_with_its_settings_is_one_sentence(
    environment: dict[str, str],
    tmp_path: Path,
    changed: dict[str, str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tokens.add(tmp_path / "tokens", tokens.new_token("ann", ["read"])[1])
    values = {name: value.format(folder=tmp_path) for name, value in changed.items()}
    for name, value in (environment | values).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(logs, "configure", lambda _: None)
    assert api_commands.serve(None) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert re.match(f"replace-etcd: .*{sentence}", said.err), said.err


def test_where_the_extra_is_missing_it_says_which(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "replace_etcd.api.serve", raising=False)
    monkeypatch.delattr(replace_etcd.api, "serve", raising=False)
    assert api_commands.serve(None) == 2
    assert capsys.readouterr().err == "replace-etcd: the API needs uvicorn: install replace-etcd[api]\n"


def test_without_tls_it_stays_on_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert api_commands.serve("0.0.0.0:0") == 2
    assert "tokens would cross the network in the clear" in capsys.readouterr().err


async def test_a_token_is_printed_once_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    code, out, err = await said("token", "ann", "--role", "start", "--role", "read", "--file", str(file))
    assert (code, out.count("\n")) == (0, 1)
    assert out.strip() not in file.read_text() + err
    assert re.fullmatch(r"ann read,start sha256:[0-9a-f]{64}\n", file.read_text())
    assert file.stat().st_mode & 0o777 == 0o600
    for name, role in (("ann smith", "read"), ("bob", "admin")):
        with pytest.raises(tokens.BadTokens):
            tokens.new_token(name, [role])
