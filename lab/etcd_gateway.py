"""Talks to single members of the user cluster's etcd over its JSON gateway, with mutual TLS.

The lab has its own way to etcd, so that a judgement never depends on the code that is judged. Members are reached
at their pod's current address, under the name that their certificate carries.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Callable
from typing import Any

import aiohttp

from lab.fixture.names import CLIENT_PORT, SERVICE
from lab.pki import EtcdPki

Json = dict[str, Any]

Locate = Callable[[str], str]
"""The current address of a replica; raises LookupError when it has none."""


class Unreachable(Exception):
    """No answer, so that nobody knows whether a change was made."""


class NotSent(Exception):
    """The member could not be connected to, so that no change was made."""


class Refused(Exception):
    """The member answered with an error."""


def encode(text: str) -> str:
    """The gateway's form of bytes."""
    return base64.b64encode(text.encode()).decode()


def decode(text: str) -> str:
    """Text of the gateway's form of bytes."""
    return base64.b64decode(text).decode()


class EtcdGateway:
    """One connection pool for all members."""

    def __init__(self, pki: EtcdPki, locate: Locate) -> None:
        self._context = ssl.create_default_context(cafile=str(pki.ca))
        self._context.load_cert_chain(pki.client.certificate, pki.client.key)
        self._locate = locate
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(self, replica: str, path: str, body: Json | None = None, *, timeout: float = 2.0) -> Json:
        """One request to one member."""
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._context, limit=0))
        try:
            url = f"https://{self._locate(replica)}:{CLIENT_PORT}/v3/{path}"
            limit = aiohttp.ClientTimeout(total=timeout)
            name = f"{replica}.{SERVICE}"
            async with self._session.post(
                url, json=body or {}, timeout=limit, server_hostname=name
            ) as response:
                answer: Json = await response.json(content_type=None)
                if response.status != 200:
                    raise Refused(str(answer.get("message", answer)))
                return answer
        except (aiohttp.ClientConnectorError, LookupError) as error:
            raise NotSent(f"{replica}: {error}") from error
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Unreachable(f"{replica}: {error or type(error).__name__}") from error

    async def put(self, replica: str, key: str, value: str, *, timeout: float = 1.0) -> int:
        """Write one key; return the revision of the acknowledgement."""
        body = {"key": encode(key), "value": encode(value)}
        answer = await self.call(replica, "kv/put", body, timeout=timeout)
        return int(answer["header"]["revision"])

    async def keys(self, replica: str, prefix: str, page: int = 5000) -> tuple[set[str], int]:
        """Every key of a prefix as this member alone has it, and the revision it has reached."""
        found: set[str] = set()
        first, end = prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1)
        while True:
            body = {
                "key": encode(first),
                "range_end": encode(end),
                "serializable": True,
                "keys_only": True,
                "limit": page,
            }
            answer = await self.call(replica, "kv/range", body, timeout=10)
            names = [decode(item["key"]) for item in answer.get("kvs", [])]
            found.update(names)
            if not answer.get("more"):
                return found, int(answer["header"]["revision"])
            first = names[-1] + "\0"

    async def status(self, replica: str) -> Json:
        """The member's own view: version, leader, whether it is a learner."""
        return await self.call(replica, "maintenance/status", timeout=1.0)

    async def members(self, replica: str, *, linearizable: bool = False) -> list[Json]:
        """The member list as this member answers it; ids as hexadecimal text. Linearizable from 3.5 on."""
        body = {"linearizable": True} if linearizable else {}
        answer = await self.call(replica, "cluster/member/list", body)
        return [
            {
                "id": f"{int(item['ID']):x}",
                "name": item.get("name", ""),
                "learner": bool(item.get("isLearner", False)),
                "started": bool(item.get("name")),
                "peer_urls": item.get("peerURLs", []),
            }
            for item in answer.get("members", [])
        ]
