"""A whole lab of each kind for the session; the tests here meet real processes behind the API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from lab.client import LabClient
from lab.kube_client import KubeClient
from lab.layout import Layout
from lab.options import LabOptions
from lab.runner import running_lab
from tests.lab.conftest import KINDS


@pytest.fixture(scope="session", params=KINDS)
def lab_directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of a running lab that tests share; what breaks its etcd takes a lab of its own."""
    directory = tmp_path_factory.mktemp(f"lab-{request.param}")
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        options = LabOptions(kubernetes=request.param)
        runner.run(stack.enter_async_context(running_lab(options, directory)))
        yield directory
        runner.run(stack.aclose())


@pytest.fixture
async def lab(lab_directory: Path) -> AsyncIterator[LabClient]:
    """The control socket of the shared lab."""
    async with LabClient(lab_directory) as connected:
        yield connected


@pytest.fixture
async def client(lab_directory: Path) -> AsyncIterator[KubeClient]:
    """The administrator's connection; it takes the place of tests/lab's, and so `world` lives in the lab."""
    async with KubeClient.from_kubeconfig(Layout(lab_directory).kubeconfig) as connected:
        yield connected
