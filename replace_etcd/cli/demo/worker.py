"""The worker as a process of its own, beside a Temporal and an admin cluster that do not outlive it."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from lab.processes import Component
from replace_etcd.cli.exits import CliError


def worker_process(
    directory: Path, temporal: str, kubeconfig: Path, task_queue: str, **settings: object
) -> Component:
    """The worker as anybody runs it, but with none of the caller's TEMPORAL_*: they may name another Temporal."""
    spec = find_spec("worker")
    if spec is None or spec.origin is None:
        raise CliError("worker.py is not installed; run the demo from a checkout with: make demo")
    foreign = [name for name in os.environ if name.startswith("TEMPORAL_")]
    command: list[str | Path] = ["env", *(word for name in foreign for word in ("-u", name))]
    own: dict[str, object] = {
        "TEMPORAL_ADDRESS": temporal,
        "TEMPORAL_CONFIG_FILE": os.devnull,
        "KUBECONFIG": kubeconfig,
        "REPLACE_ETCD_TASK_QUEUE": task_queue,
        "REPLACE_ETCD_LOG_FORMAT": "json",
        "REPLACE_ETCD_AUDIT": f"sqlite:///{directory / 'audit.db'}",  # what is played is not for the real one
        "TMPDIR": directory,  # the Kubernetes client keeps its keys in temporary files
    }
    own |= {f"REPLACE_ETCD_{name.upper()}": value for name, value in settings.items()}
    command += [f"{name}={value}" for name, value in own.items()]
    return Component("worker", [*command, sys.executable, Path(spec.origin)], directory=directory)
