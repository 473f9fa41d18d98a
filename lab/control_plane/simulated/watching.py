"""Watches: the changes of one kind from a resourceVersion on, filtered, until a time limit.

An object that a change brings into the selector is ADDED, one that leaves it is DELETED, whatever the change
was. A version that the history does not reach ends the watch with 410 Expired; bookmarks carry the version
forward.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from lab.control_plane.simulated.errors import bad_request, gone
from lab.control_plane.simulated.resources import Resource
from lab.control_plane.simulated.store import Change, Store

Json = dict[str, Any]

DEFAULT_SECONDS = 1800.0
BOOKMARK_EVERY = 30.0
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


@dataclass(frozen=True)
class WatchOptions:
    """What a watch was asked for."""

    namespace: str
    matches: Callable[[Json], bool]
    resource_version: str = ""
    seconds: float = DEFAULT_SECONDS
    bookmarks: bool = False
    initial_events: bool = False


async def watch(store: Store, resource: Resource, options: WatchOptions) -> AsyncIterator[tuple[str, Json]]:
    """Yield (type, object) for each change that the watcher sees."""
    queue: asyncio.Queue[tuple[str, Json]] = asyncio.Queue()
    start = _start(options.resource_version)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + options.seconds

    def notice(change: Change) -> None:
        """Wake the watcher for what it sees only: there may be a thousand of them."""
        if change.resource.key == resource.key and (event := _seen(change, options)):
            queue.put_nowait(event)

    unsubscribe = store.subscribe(notice)
    try:
        for item in _first(store, resource, options, start):
            yield item
        while (left := deadline - loop.time()) > 0:
            try:
                event = await asyncio.wait_for(queue.get(), min(left, BOOKMARK_EVERY))
            except TimeoutError:
                if options.bookmarks:
                    yield "BOOKMARK", bookmark(resource, store.revision)
                continue
            yield event
    finally:
        unsubscribe()


def _start(version: str) -> int:
    try:
        return int(version or 0)
    except ValueError:
        raise bad_request(f"Invalid value: {version!r}: must be a resource version") from None


def _first(store: Store, resource: Resource, options: WatchOptions, start: int) -> list[tuple[str, Json]]:
    """What a watch begins with: the objects that are there, or the changes since its version."""
    if start == 0 or options.initial_events:
        found = [obj for obj in store.list(resource, options.namespace) if options.matches(obj)]
        first = [("ADDED", obj) for obj in found]
        if options.initial_events:
            end = bookmark(resource, store.revision)
            end["metadata"]["annotations"] = {INITIAL_EVENTS_END: "true"}
            first.append(("BOOKMARK", end))
        return first
    if not store.reaches_back_to(start, resource):
        return [("ERROR", gone(f"too old resource version: {start} ({store.revision})").body())]
    changes = (_seen(change, options) for change in store.since(start, resource))
    return [event for event in changes if event]


def _seen(change: Change, options: WatchOptions) -> tuple[str, Json] | None:
    if options.namespace and change.namespace != options.namespace:
        return None
    before = change.previous is not None and options.matches(change.previous)
    after = change.type != "DELETED" and options.matches(change.object)
    if after:
        return ("MODIFIED" if before else "ADDED"), change.object
    return ("DELETED", change.object) if before else None


def bookmark(resource: Resource, revision: int) -> Json:
    """An object that carries nothing but a resourceVersion."""
    metadata: Json = {"resourceVersion": str(revision)}
    return {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
