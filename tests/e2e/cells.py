"""The table of replacements: each fault, each replica, both policies, both ways with the budget, both control planes.

`EVERY_RUN` is what it says; `PAIRWISE` has every pair of values at least once (tests/unit/test_cells.py) and runs in
CI, together with some shapes and options, which cost nothing more; `ALL` has every row, which takes hours, and runs in
`make test-full`.
"""

import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest

from lab.models import Fault
from lab.options import LabOptions
from tests.e2e.conftest import REAL

FAULTS: tuple[Fault, ...] = ("corrupt-wal", "corrupt-db", "wipe", "hang")
REPLICAS = ("kube-etcd-0", "kube-etcd-1", "kube-etcd-2")
POLICIES = ("OrderedReady", "Parallel")
BUDGETS = ("delete", "keep")
CONTROL_PLANES = ("simulated", "real")
# What goes together into one user cluster (lab/fixture/shapes.py).
MANY_SHAPES = (
    *("container-named-otherwise", "sidecars", "flag-in-shell-string", "data-elsewhere", "hostnames"),
    *("members-named-otherwise", "peer-urls-with-domain", "several-secrets", "soft-anti-affinity"),
    *("on-delete", "budget-by-max-unavailable"),
)
IN_COMMAND = ("sidecars", "flag-as-two-tokens", "flag-in-command", "no-budget")
BY_VARIABLE = ("flag-by-variable",)
IN_ENVIRONMENT = ("flag-in-environment",)


@dataclass(frozen=True)
class Cell:
    """One replacement: what fails in what kind of lab, and how it is asked for."""

    kubernetes: str
    replica: str
    fault: Fault
    policy: str
    budget: str
    shapes: tuple[str, ...] = ()
    wishes: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, ...]:
        """Where it is in the table."""
        return (self.kubernetes, self.replica, self.fault, self.policy, self.budget)

    @property
    def lab(self) -> LabOptions:
        """The lab that it needs."""
        return LabOptions.model_validate(
            {"kubernetes": self.kubernetes, "pod_management": self.policy, "shapes": self.shapes}
        )

    @property
    def request(self) -> dict[str, Any]:
        """The fields of the request beside the user cluster."""
        return {"pod_disruption_budget": self.budget, **self.wishes}


EVERY_RUN = (Cell("simulated", "kube-etcd-1", "wipe", "Parallel", "delete", IN_COMMAND),)
"""What `make test` has time for wherever it runs, beside the fault matrix, which has both policies."""
PAIRWISE = (
    *EVERY_RUN,
    Cell("simulated", "kube-etcd-2", "hang", "OrderedReady", "keep", MANY_SHAPES),
    Cell("simulated", "kube-etcd-0", "corrupt-wal", "Parallel", "keep", BY_VARIABLE),
    Cell("simulated", "kube-etcd-1", "corrupt-wal", "Parallel", "keep", (), {"drain": "replica"}),
    Cell("simulated", "kube-etcd-0", "corrupt-db", "Parallel", "delete", IN_ENVIRONMENT),
    Cell("simulated", "kube-etcd-1", "corrupt-db", "Parallel", "keep", (), {"join_as": "learner"}),
    Cell("simulated", "kube-etcd-0", "hang", "Parallel", "keep"),
    Cell("real", "kube-etcd-2", "corrupt-wal", "OrderedReady", "delete"),
    Cell("real", "kube-etcd-2", "corrupt-db", "OrderedReady", "delete", MANY_SHAPES),
    Cell("real", "kube-etcd-0", "wipe", "OrderedReady", "keep"),
    Cell("real", "kube-etcd-2", "wipe", "Parallel", "keep", (), {"drain": "replica"}),
    Cell("real", "kube-etcd-1", "hang", "OrderedReady", "delete"),
)
ALL = tuple(
    Cell(*values) for values in itertools.product(CONTROL_PLANES, REPLICAS, FAULTS, POLICIES, BUDGETS)
)


def parameters() -> list[Any]:
    """Every cell with what it needs: a real control plane, and time where it is not one of the pairwise ones."""
    known = {cell.key for cell in PAIRWISE}
    return [_parameter(cell, needs=() if cell in EVERY_RUN else ("minutes",)) for cell in PAIRWISE] + [
        _parameter(cell, needs=("time",)) for cell in ALL if cell.key not in known
    ]


def _parameter(cell: Cell, needs: tuple[str, ...]) -> Any:
    marks = [
        *(REAL.marks if cell.kubernetes == "real" else []),
        *([pytest.mark.needs(*needs)] if needs else []),
    ]
    return pytest.param(cell, id="-".join(cell.key), marks=marks)
