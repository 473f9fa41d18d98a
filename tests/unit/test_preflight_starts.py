"""A survivor's last start is that of etcd's own container, whatever its name."""

from datetime import UTC, datetime, timedelta

from activities.preflight_checks import Findings, Looks
from activities.preflight_starts import look_at_starts
from replace_etcd.models.plan import Survivor, Verdict
from replace_etcd.models.request import ReplacementRequest
from tests.unit.scripted_etcd import ScriptedEtcd


def test_the_container_is_the_one_that_was_found_in_the_template() -> None:
    """The settings name another one, as where a vendor calls it differently."""
    since = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    running = {"name": "etcd", "restartCount": 1, "state": {"running": {"startedAt": since}}}
    request = ReplacementRequest(user_cluster="user-cluster-1")
    looks = Looks(ScriptedEtcd().tools(), request, Findings(), container="etcd")
    looks.pods = {"kube-etcd-0": {"status": {"containerStatuses": [running]}}}
    looks.survivors = [Survivor(pod="kube-etcd-0", pod_uid="uid", member_id="1")]
    look_at_starts(looks)
    (check,) = looks.findings.checks
    assert check.verdict is Verdict.OK
    assert "120 min ago" in check.evidence
