"""The utility Pod goes to the failed pod's node, whatever that node is called and whatever it keeps off."""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from activities.utility_pod import LOOK
from replace_etcd.settings import Settings
from replace_etcd.utility_pod import OBEDIENT, utility_pod
from tests.workflows.script import PINS

DEDICATED = {"key": "dedicated", "operator": "Equal", "value": "etcd", "effect": "NoSchedule"}


def look(data: Path, volume: Path) -> tuple[int, str]:
    """What the command says that is run in the utility Pod."""
    words = ["/bin/sh", "-c", LOOK, "sh", str(data), str(volume)]
    answer = subprocess.run(words, capture_output=True, text=True, check=False)
    return answer.returncode, answer.stdout.strip()


def test_a_data_directory_that_was_told_wrong_is_noticed_before_anything_is_wiped(tmp_path: Path) -> None:
    (tmp_path / "deep/etcd/member/wal").mkdir(parents=True)
    code, said = look(tmp_path / "deep", tmp_path)
    assert (code, said) == (4, str(tmp_path / "deep/etcd/member/wal"))
    inode = (tmp_path / "deep/etcd/member").stat().st_ino
    assert look(tmp_path / "deep/etcd", tmp_path) == (0, str(inode))


@pytest.mark.parametrize("left", ["", ".replaced-x/member/wal"])
def test_an_empty_volume_is_no_obstacle(tmp_path: Path, left: str) -> None:
    (tmp_path / left).mkdir(parents=True, exist_ok=True)
    assert look(tmp_path, tmp_path) == (0, "")


def test_it_ends_when_it_is_told_to_instead_of_waiting_for_its_sleep() -> None:
    shell = subprocess.Popen(["/bin/sh", "-c", OBEDIENT], start_new_session=True)
    try:
        children = Path(f"/proc/{shell.pid}/task/{shell.pid}/children")
        while not children.read_text():  # the trap is set before the first sleep
            os.sched_yield()
        shell.send_signal(signal.SIGTERM)
        assert shell.wait(timeout=30) == 0, "it was ended by the signal: as PID 1 it would not be"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)


def spec_of(**pins: Any) -> Any:
    return utility_pod(PINS.model_copy(update=pins), Settings(), "run", 1)["spec"]


def test_it_goes_to_the_node_by_its_name_and_asks_for_no_label_that_the_node_has_not() -> None:
    spec = spec_of(node="node-2", node_hostname="host-2")
    assert spec["nodeSelector"] == {"kubernetes.io/hostname": "host-2"}
    assert spec_of(node_hostname="")["nodeSelector"] == {}
    (term,) = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    assert term == {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-2"]}]}


def test_it_tolerates_what_the_failed_pod_tolerates_and_pulls_as_it_does() -> None:
    spec = spec_of(tolerations=[DEDICATED], pull_secrets=[{"name": "registry"}])
    assert DEDICATED in spec["tolerations"]
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    keys = [toleration["key"] for toleration in spec_of()["tolerations"]]
    assert keys == [f"node.kubernetes.io/{key}" for key in ("not-ready", "unreachable", "unschedulable")]
