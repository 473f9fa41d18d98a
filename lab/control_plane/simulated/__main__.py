"""Runs the simulated control plane: one event loop, one TLS server, all controllers."""

from __future__ import annotations

import argparse
import asyncio
import logging
import socket
import ssl
from pathlib import Path

from aiohttp import web

from lab.control_plane.serving import LOOPBACK
from lab.control_plane.simulated import NODE_GRACE, fields
from lab.control_plane.simulated.audit import AuditLog
from lab.control_plane.simulated.cluster import Cluster
from lab.control_plane.simulated.controllers import all_controllers
from lab.control_plane.simulated.journal import Journal, replay
from lab.control_plane.simulated.proxy import KubeletProxy
from lab.control_plane.simulated.server import ApiServer

FIRST_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
SHUTDOWN = 0.5
NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which Python has no name for
FILES = ("certificate", "key", "ca", "kubelet-certificate", "kubelet-key", "journal")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="the port of 127.0.0.1 to listen on")
    for name in FILES:
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--audit-log", type=Path)
    parser.add_argument(
        "--node-grace", type=float, default=NODE_GRACE, help="seconds of silence until NotReady"
    )
    return parser.parse_args()


def tls(options: argparse.Namespace) -> ssl.SSLContext:
    """Serve with our certificate, and verify the client's if there is one: without one the answer is 401.

    Its time is looked at later: the real one ends no handshake over it, it answers 401, too.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=options.ca)
    context.load_cert_chain(options.certificate, options.key)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= NO_CHECK_TIME
    return context


def open_cluster(journal: Path) -> Cluster:
    """Bring back the objects of a former life, or begin with the first namespaces."""
    cluster = Cluster()
    replay(journal, cluster)
    Journal(journal, cluster.store)
    namespaces = cluster.resource("namespaces")
    for name in FIRST_NAMESPACES:
        if cluster.store.get(namespaces, "", name) is None:
            cluster.create(namespaces, "", {"metadata": {"name": name}})
    return cluster


async def serve(options: argparse.Namespace) -> None:
    """Serve until the process ends."""
    models = asyncio.create_task(asyncio.to_thread(fields.load))
    cluster = open_cluster(options.journal)
    proxy = KubeletProxy(cluster, options.kubelet_certificate, options.kubelet_key)
    server = ApiServer(cluster, proxy, AuditLog(options.audit_log))
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=SHUTDOWN)
    await runner.setup()
    listener = socket.create_server((LOOPBACK, options.port), reuse_port=True)
    await web.SockSite(runner, listener, ssl_context=tls(options)).start()
    controllers = all_controllers(cluster, node_grace=options.node_grace)
    await asyncio.gather(models, *(controller.run() for controller in controllers))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(serve(arguments()))
