"""A Temporal server that outlives the event loop of each test: fixtures of a whole session have none of their own."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.temporal_server import TemporalServer, running_temporal


@contextmanager
def temporal_for_all(directory: Path, namespaces: Sequence[str] = ()) -> Iterator[TemporalServer]:
    """Run it while the block runs, with these namespaces beside `default`."""
    with asyncio.Runner() as runner:
        context = running_temporal(directory, namespaces=namespaces)
        server = runner.run(context.__aenter__())
        try:
            yield server
        finally:
            runner.run(context.__aexit__(None, None, None))
