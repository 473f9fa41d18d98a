"""The last word on replacements that met faults: on a lab where nobody repairs anything, it finds what is wrong."""

from __future__ import annotations

import pytest

from lab.client import LabClient
from lab.options import LabOptions
from lab.runner import running_lab
from tests.e2e.judged import judged
from tests.lab.nodes.waiting import until

pytestmark = [pytest.mark.timeout(300), pytest.mark.needs("namespaces")]


async def test_a_member_that_was_not_replaced_and_a_survivor_that_was_killed_are_found() -> None:
    async with running_lab(LabOptions()) as lab:
        with pytest.raises(AssertionError) as found:
            await _harmed(lab)
    assert "survivor kube-etcd-0 was restarted 1 times" in str(found.value)
    assert "is still listed" in str(found.value)


async def _harmed(lab: LabClient) -> None:
    async with judged(lab):
        await lab.start_traffic()
        await lab.destroy("kube-etcd-1", "corrupt-wal")
        await lab.signal_member("kube-etcd-0", "kill")
        await until(lambda: _is_back(lab, "kube-etcd-0"))


async def _is_back(lab: LabClient, replica: str) -> bool:
    evidence = await lab.evidence()
    return replica in evidence.read and any(s.pod == replica and s.restarts for s in evidence.sightings)
