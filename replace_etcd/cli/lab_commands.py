"""What the `lab` commands do; apart from their options, since this part loads the lab."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from lab.binaries import MissingBinary
from lab.client import LabClient, LabError
from lab.fixture.names import CERTIFICATES, CONTAINER, NAMESPACE, REPLICAS
from lab.models import LabStatus
from lab.options import LabOptions
from lab.runner import running_lab
from replace_etcd.cli.exits import CliError, Exit
from replace_etcd.cli.options import FaultName, LabChoice
from replace_etcd.cli.views import Narrator

LOOK_EVERY = 5.0
TLS_FILES = {"cacert": "etcdCA.crt", "cert": "etcd.crt", "key": "etcd.key"}


def lab_options(choice: LabChoice) -> LabOptions:
    """The choice as the lab's model, or the one field that it does not accept."""
    given = asdict(choice) | {"etcd": choice.etcd.resolve() if choice.etcd else None}
    try:
        return LabOptions.model_validate(given)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        option = str(problem["loc"][0]).replace("_", "-")
        raise CliError(f"--{option}: {problem['msg'].removeprefix('Value error, ')}") from None


@asynccontextmanager
async def lab_errors() -> AsyncIterator[None]:
    """What the lab complains of, as the command's one sentence."""
    try:
        yield
    except (LabError, MissingBinary) as error:
        raise CliError(str(error)) from None


async def up(directory: Path, choice: LabChoice) -> int:
    """Run a lab until Ctrl-C, its regular end, or until it ends by itself."""
    narrator = Narrator(Console(highlight=False))
    async with lab_errors(), running_lab(lab_options(choice), directory, progress=narrator.say) as lab:
        status = await lab.status()
        narrator.say(f"the lab is whole: etcd {status.etcd}, Kubernetes {status.kubernetes}")
        narrator.console.print(usage(lab.kubeconfig, directory), markup=False, soft_wrap=True)
        with suppress(asyncio.CancelledError):
            await _until_it_ends(lab)
    return Exit.OK


def usage(kubeconfig: Path, directory: Path) -> str:
    """What to type in another terminal."""
    tls = " ".join(f"--{option}={CERTIFICATES}/{file}" for option, file in TLS_FILES.items())
    return "\n".join(
        (
            "",
            f"  export KUBECONFIG={shlex.quote(str(kubeconfig))}",
            "  kubectl get pods -A -o wide",
            f"  kubectl -n {NAMESPACE} exec {REPLICAS[0]} -c {CONTAINER} -- etcdctl {tls} member list -w table",
            f"  replace-etcd lab break {REPLICAS[1]} --fault corrupt-wal --dir {shlex.quote(str(directory))}",
            f"  replace-etcd lab status --dir {shlex.quote(str(directory))}",
            "",
            "Ctrl-C takes everything down.",
        )
    )


async def _until_it_ends(lab: LabClient) -> NoReturn:
    """A lab ends when it is asked to; one that ends otherwise is an error, which asking for its status raises."""
    while True:
        await lab.status()
        await asyncio.sleep(LOOK_EVERY)


async def destroy(directory: Path, replica: str, fault: FaultName) -> int:
    """Destroy a member of a lab that runs."""
    async with lab_errors(), LabClient(directory) as lab:
        broken = await lab.destroy(replica, fault)
    Console(highlight=False).print(f"{broken} is destroyed: {fault}", markup=False)
    return Exit.OK


async def status(directory: Path, *, as_json: bool) -> int:
    """Show a lab that runs."""
    async with lab_errors(), LabClient(directory) as lab:
        seen = await lab.status()
    if as_json:
        print(seen.model_dump_json(indent=2))  # noqa: T201 - for programs: no colours, no wrapping
    else:
        _show(Console(highlight=False), seen)
    return Exit.OK


def _show(console: Console, seen: LabStatus) -> None:
    broken = f"; {seen.failed} was destroyed: {seen.fault}" if seen.failed else ""
    console.print(f"etcd {seen.etcd}, Kubernetes {seen.kubernetes}{broken}", markup=False)
    members = Table("MEMBER", "ID", "STATE", box=None, pad_edge=False)
    for member in seen.members:
        words = ["learner" if member.learner else "voter", "healthy" if member.healthy else "not healthy"]
        words += ["leader"] if member.name == seen.leader else []
        members.add_row(member.name or "(not started)", member.id, ", ".join(words))
    pods = Table("POD", "NODE", "STATE", "RESTARTS", box=None, pad_edge=False)
    for pod in seen.pods:
        pods.add_row(
            pod.name, pod.node, "Ready" if pod.ready else f"{pod.phase}, not Ready", str(pod.restarts)
        )
    nodes = Table("NODE", "STATE", box=None, pad_edge=False)
    for node, ready in seen.nodes.items():
        nodes.add_row(node, "Ready" if ready else "not Ready")
    for table in (members, pods, nodes):
        console.print(table)
        console.print()
