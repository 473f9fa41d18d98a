"""Resets of a run, as `temporal workflow reset` does them: the run ends, and another goes on from an earlier task."""

from __future__ import annotations

import uuid
from typing import Any

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowHandle

FIRST_TASK = 4
"""The event with which the first workflow task of any run is completed."""


async def reset_to(
    client: Client, workflow_id: str, event: int, *, run_id: str = "", why: str = "a test"
) -> str:
    """Reset a run, the newest if none is named, to the task that this event completes; returns the new run's id."""
    request = ResetWorkflowExecutionRequest(
        namespace=client.namespace,
        workflow_execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
        reason=why,
        workflow_task_finish_event_id=event,
        request_id=uuid.uuid4().hex,
    )
    return (await client.workflow_service.reset_workflow_execution(request)).run_id


async def tasks_that_scheduled(handle: WorkflowHandle[Any, Any], activity: str) -> list[int]:
    """The events of the tasks that have scheduled this activity, in their order."""
    events = (await handle.fetch_history()).events
    scheduled = [event.activity_task_scheduled_event_attributes for event in events]
    return [
        each.workflow_task_completed_event_id for each in scheduled if each.activity_type.name == activity
    ]
