"""`DiagnoseWorker`: whether the worker of this task queue could carry out a replacement; read-only.

A workflow, and not a command with a kubeconfig of its own, since only the worker's own view counts: its identity, its
network, its settings.
"""

from typing import Any

from pydantic import ValidationError
from temporalio import workflow
from temporalio.exceptions import ApplicationError

from workflows import options
from workflows.saga import begin

with workflow.unsafe.imports_passed_through():
    from activities.doctor import DoctorActivities
    from replace_etcd.models.diagnosis import WORKFLOW_TYPE, Diagnosis, DiagnosisRequest
    from replace_etcd.narration import diagnosis_details, invalid_input


@workflow.defn(name=WORKFLOW_TYPE)
class DiagnoseWorker:
    """Asks the worker what it sees."""

    @workflow.run
    async def run(self, submitted: Any = None) -> Diagnosis:
        """Run it; the argument is the JSON of a `DiagnosisRequest`, or nothing."""
        request = _accepted(submitted)
        about = f" and {request.user_cluster}" if request.user_cluster else ""
        seen = await begin(
            DoctorActivities.diagnose,
            request,
            f"the worker's view of the admin cluster{about}",
            options.LOOKING["diagnose"],
            options.UNTIL_FINAL,
        )
        workflow.set_current_details(diagnosis_details(seen.checks))
        return Diagnosis(
            user_cluster=request.user_cluster,
            checks=seen.checks,
            host=seen.host,
            version=seen.version,
            made_at=seen.finished_at,
        )


def _accepted(submitted: Any) -> DiagnosisRequest:
    try:
        return DiagnosisRequest.model_validate(submitted or {})
    except ValidationError as error:
        reason = invalid_input(error, DiagnosisRequest)
        raise ApplicationError(reason, type="InvalidInput", non_retryable=True) from None
