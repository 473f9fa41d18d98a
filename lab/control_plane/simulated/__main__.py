"""Runs the simulated control plane: one event loop, one TLS server, all controllers."""

from __future__ import annotations

import argparse
import asyncio
import logging
import socket
import ssl
from pathlib import Path

from aiohttp import web

from lab.control_plane.simulated.audit import AuditLog
from lab.control_plane.simulated.cluster import Cluster
from lab.control_plane.simulated.controllers import all_controllers
from lab.control_plane.simulated.proxy import KubeletProxy
from lab.control_plane.simulated.server import ApiServer

FIRST_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
SHUTDOWN = 0.5


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--fd", type=int, action="append", default=[], help="a listening socket that was inherited"
    )
    parser.add_argument(
        "--port", type=int, action="append", default=[], help="a port of 127.0.0.1 to listen on"
    )
    for name in ("certificate", "key", "ca", "kubelet-certificate", "kubelet-key"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--audit-log", type=Path)
    parser.add_argument("--node-grace", type=float, default=50.0, help="seconds of silence before NotReady")
    return parser.parse_args()


def tls(options: argparse.Namespace) -> ssl.SSLContext:
    """Serve with our certificate, and verify the client's if there is one: without one the answer is 401."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=options.ca)
    context.load_cert_chain(options.certificate, options.key)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


async def serve(options: argparse.Namespace) -> None:
    """Serve until the process ends."""
    cluster = Cluster()
    controllers = all_controllers(cluster, node_grace=options.node_grace)
    loops = [asyncio.create_task(controller.run()) for controller in controllers]
    await asyncio.sleep(0)
    for name in FIRST_NAMESPACES:
        cluster.create(cluster.resource("namespaces"), "", {"metadata": {"name": name}})
    proxy = KubeletProxy(cluster, options.kubelet_certificate, options.kubelet_key)
    server = ApiServer(cluster, proxy, AuditLog(options.audit_log))
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=SHUTDOWN)
    await runner.setup()
    sockets = [socket.socket(fileno=descriptor) for descriptor in options.fd]
    sockets += [socket.create_server(("127.0.0.1", port)) for port in options.port]
    context = tls(options)
    for listener in sockets:
        await web.SockSite(runner, listener, ssl_context=context).start()
    try:
        await asyncio.gather(*loops)
    finally:
        await proxy.close()
        await runner.cleanup()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(serve(arguments()))
