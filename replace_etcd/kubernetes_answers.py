"""What the API server's refusals and an exec's end mean: read from statuses, headers and bodies; pure but for one file.

Which of its answers ask for patience, which say that the request can never succeed, and which mean something else than
their number: a 429 is a budget's word on an eviction, or a server that is too busy for anything.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from replace_etcd.certificates import parse_certificates, time_left
from replace_etcd.cluster import CommandResult
from replace_etcd.errors import (
    ClusterError,
    Conflict,
    CutOff,
    Forbidden,
    Invalid,
    OutcomeUnknown,
    Unauthenticated,
)

WITH_VERSION = "resourceVersion should not be set on objects to be created"
MORE_THAN_ONE_PDB = "more than one PodDisruptionBudget"
BUDGET = "DisruptionBudget"
LEAST_PAUSE_SECONDS = 1.0  # a busy server that names 0 is not asked without a pause


def cluster_error(status: int, text: bytes, identity: str = "") -> ClusterError:
    """The refusal as an error; `identity` says why the caller is not known, where that is the matter."""
    try:
        answer = json.loads(text)
    except ValueError:
        answer = {}
    if not isinstance(answer, dict) or not answer:
        answer = {"message": text.decode(errors="replace").strip()[:500]}
    reason, message = str(answer.get("reason", "")), str(answer.get("message", ""))
    causes = (answer.get("details") or {}).get("causes") or []
    if status == 401:
        return Unauthenticated(status, "Unauthorized", identity or message, causes)
    if status == 403:
        return Forbidden(status, reason, message, causes)
    if status in (400, 422) or WITH_VERSION in message:
        return Invalid(status, reason, message, causes)
    if status == 409:
        return Conflict(status, reason, message, causes)
    return ClusterError(status, reason, message, causes)


def asked_to_wait(status: int, headers: Mapping[str, str], text: bytes) -> float | None:
    """For how long a server that is too busy (priority and fairness) wants to be left alone: nothing was done.

    A budget's refusal is a 429, too, sometimes with a time in it: an answer, not a wish.
    """
    wish = headers.get("Retry-After", "")
    if status != 429 or not wish.isdecimal() or BUDGET.encode() in text:
        return None
    return max(LEAST_PAUSE_SECONDS, float(wish))


def refused_by_budget(error: ClusterError) -> bool:
    """Whether an eviction was refused by its budget, and not by a server that is too busy to look at it."""
    by_one = error.status == 429 and any(cause.get("reason") == BUDGET for cause in error.causes)
    return by_one or MORE_THAN_ONE_PDB in error.message


def why_not(error: ClusterError) -> str:
    """The refusal in words."""
    causes = "; ".join(cause.get("message", "") for cause in error.causes)
    return " ".join(part for part in (error.message, causes) if part)


def unknown_identity(certificate: str | None) -> str:
    """Why the API server does not know us, in one sentence with the way out."""
    refused = "the API server does not accept this worker's identity"
    way_out = "renew it in the kubeconfig, and restart the worker"
    if certificate is None:
        return f"{refused}: its token has expired, or its account is gone; {way_out}"
    try:
        leaf, *_ = parse_certificates(Path(certificate).read_text())
    except (OSError, ValueError) as error:
        return f"{refused}: its client certificate cannot be read ({error}); {way_out}"
    now = datetime.now(UTC)
    state = time_left(leaf, now) if leaf.not_after <= now else "is not of an authority that is trusted there"
    return f"{refused}: its client certificate ({leaf.subject}) {state}; {way_out}"


def how_it_ended(command: str, stderr: bytearray, status: bytearray) -> CommandResult:
    """Read the Status of channel 3; without one the command may still be running."""
    if not status:
        raise CutOff(f"{command}: the connection ended without a Status")
    said, errors = json.loads(status), stderr.decode(errors="replace")
    if said.get("status") == "Success":
        return CommandResult("", errors, 0)
    for cause in (said.get("details") or {}).get("causes") or []:
        if cause.get("reason") == "ExitCode":
            return CommandResult("", errors, int(cause["message"]))
    # A missing binary, but also a runtime that broke in the middle of the command: a kubelet says the same of both.
    raise OutcomeUnknown(f"{command} may not have run: {said.get('message', 'no reason given')}")
