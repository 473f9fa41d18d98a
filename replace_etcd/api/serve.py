"""The API as a process: settings, the two stores behind it, TLS, and an orderly end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import structlog
import uvicorn
from temporalio.client import Client

from replace_etcd import temporal
from replace_etcd.api import app as application
from replace_etcd.api import pagerduty
from replace_etcd.api.metrics import Metrics
from replace_etcd.api.services import Services
from replace_etcd.api.settings import ApiSettings
from replace_etcd.api.tokens import TokenFile
from replace_etcd.audit.keeper import AuditKeeper

END_WITHIN_SECONDS = 20


class CannotServe(Exception):
    """The API cannot start; the text is one sentence with the way out."""


async def serve(settings: ApiSettings, audit: str, task_queue: str) -> None:
    """Serve until SIGTERM or SIGINT; answers that are under way are given first."""
    if settings.pagerduty_secrets_file is not None:
        pagerduty.read_secrets(settings.pagerduty_secrets_file)
    tokens = TokenFile(settings.tokens_file)
    config = _config(settings)
    listening = _listen(settings)
    try:
        client = await temporal.connect()
        async with _services(client, settings, tokens, audit, task_queue) as services:
            config.app = application.build(services)
            server = _Server(config)
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, server.handle_exit, number, None)
            await server.serve(sockets=[listening])
    finally:
        listening.close()


class _Server(uvicorn.Server):
    """Says where it listens once it does; a stop is an end like any other, not a signal to die of afterwards."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """They are handled where the process is put together."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        scheme = "https" if self.config.ssl_certfile else "http"
        for one in sockets or []:
            host, port = one.getsockname()[:2]
            where = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
            structlog.get_logger().info("the API listens", url=where)


@asynccontextmanager
async def _services(
    client: Client, settings: ApiSettings, tokens: TokenFile, audit: str, task_queue: str
) -> AsyncIterator[Services]:
    keeper = AuditKeeper(audit)
    try:
        yield Services(client, keeper, settings, tokens, task_queue, Metrics())
    finally:
        await keeper.close()


def _config(settings: ApiSettings) -> uvicorn.Config:
    """What the server itself bounds; the rest is the gate's."""
    config = uvicorn.Config(
        app="",  # built once its services are there
        interface="asgi3",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies or None,
        limit_concurrency=settings.max_connections,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=END_WITHIN_SECONDS,
        h11_max_incomplete_event_size=32_768,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
        ssl_ca_certs=str(settings.tls_client_ca) if settings.tls_client_ca else None,
        ssl_cert_reqs=ssl.CERT_REQUIRED if settings.tls_client_ca else ssl.CERT_NONE,
    )
    _check_tls(settings)
    return config


def _check_tls(settings: ApiSettings) -> None:
    """The files are tried before anything listens, so that what is wrong with them is one sentence."""
    if settings.tls_certificate is None:
        return
    files = [path for path in (settings.tls_certificate, settings.tls_key, settings.tls_client_ca) if path]
    for path in files:
        _readable(path)
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(settings.tls_certificate, settings.tls_key, password=_no_passphrase)
        if settings.tls_client_ca:
            context.load_verify_locations(settings.tls_client_ca)
    except (ssl.SSLError, OSError) as error:
        names = ", ".join(str(path) for path in files)
        raise CannotServe(
            f"TLS cannot be used with {names}: {error.strerror or error}; give PEM files"
        ) from None


def _no_passphrase() -> str:
    """Asked for where the key is encrypted; without this OpenSSL asks the terminal, and waits."""
    raise CannotServe(
        "the key of TLS is encrypted, and nobody is there to type its passphrase: name in REPLACE_ETCD_API_TLS_KEY "
        "one that is not, such as `openssl pkey -in KEY -out NEW` writes, readable to this user only"
    )


def _readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise CannotServe(
            f"{path} cannot be read ({os.strerror(error.errno or 0)}); it is needed for TLS"
        ) from None


def _listen(settings: ApiSettings) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        return socket.create_server((settings.host, settings.port), family=family, backlog=256)
    except OSError as error:
        raise CannotServe(
            f"nobody can listen on {settings.listen} ({error.strerror or error}); set REPLACE_ETCD_API_LISTEN"
        ) from None
