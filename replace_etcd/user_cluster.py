"""Whether something works on a user cluster, by the conditions of the object that describes it; pure.

Its controllers rewrite the StatefulSet during an upgrade or a change, and their conditions are not documented
field by field. So several signs count, each named in the evidence: kstatus' convention (`Reconciling` true), a
`Ready` that is false for such a reason, and a generation that its controller has not seen
(https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md).
"""

import re
from typing import Any

from replace_etcd.cluster import Object

# Types that say "under way" while they are true, and reasons that say so where `Ready` is false.
WORK = re.compile(
    r"(reconcil|upgrad|updat|progress|creat|delet|terminat|provision|install|migrat|resiz|rotat|rolling)",
    re.IGNORECASE,
)
UNDER_WAY = re.compile(rf"{WORK.pattern}\w*ing$|in_?progress$", re.IGNORECASE)


def work_under_way(owner: Object) -> list[str]:
    """Every sign that an upgrade, a change or a deletion is under way."""
    metadata, status = owner["metadata"], owner.get("status") or {}
    signs = []
    if metadata.get("deletionTimestamp"):
        signs.append(f"it is being deleted since {metadata['deletionTimestamp']}")
    seen, wanted = status.get("observedGeneration"), metadata.get("generation")
    if seen is not None and wanted is not None and seen < wanted:
        signs.append(f"generation {wanted} is wanted, {seen} observed")
    return signs + [_said(condition) for condition in _conditions(owner) if _is_work(condition)]


def unclear(owner: Object) -> list[str]:
    """What cannot be read as under way or at rest: no conditions, an unknown one, not ready for another reason."""
    conditions = _conditions(owner)
    if not conditions:
        return ["it reports no conditions"]
    return [
        _said(c)
        for c in conditions
        if not _is_work(c) and (c.get("status") == "Unknown" or (_is_ready(c) and c.get("status") != "True"))
    ]


def _is_work(condition: Object) -> bool:
    kind, value = condition["type"], condition.get("status")
    reason = condition.get("reason") or ""
    if value == "True":
        return bool(UNDER_WAY.search(kind))
    return _is_ready(condition) and bool(WORK.search(reason)) and not re.search(r"(fail|error)", reason, re.I)


def _is_ready(condition: Object) -> bool:
    return str(condition["type"]).lower() in ("ready", "available", "clusterrunning")


def _conditions(owner: Object) -> list[dict[str, Any]]:
    return (owner.get("status") or {}).get("conditions") or []


def _said(condition: Object) -> str:
    words = [
        f"{condition['type']} is {condition.get('status')}",
        condition.get("reason"),
        condition.get("message"),
    ]
    return ": ".join(word for word in words if word)[:300]
