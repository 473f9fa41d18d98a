"""Logging: JSON lines for machines, colours on a terminal; each line carries what it belongs to.

Workflow and activity code logs with `workflow.logger` and `activity.logger`; here at the edge structlog renders
the lines and binds workflow id, run id, activity, attempt, user cluster and replica.
"""

import logging
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, Processor
from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

FROM_TEMPORAL = {
    "workflow_id": "workflow_id",
    "workflow_run_id": "run_id",
    "run_id": "run_id",
    "activity_type": "activity",
    "attempt": "attempt",
}


def configure(log_format: str) -> None:
    """Render every log line of the process, ours and the libraries', in one format."""
    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        _unfold_temporal,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Processor = structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


class StepLogs(Interceptor):
    """A worker's interceptor: each step says when it begins and how it ends, and names what it works on."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Stand around every activity."""
        return _StepLog(super().intercept_activity(next))


class _StepLog(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        log = structlog.get_logger("step")
        info = activity.info()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(
            workflow_id=info.workflow_id,
            run_id=info.workflow_run_id,
            activity=info.activity_type,
            attempt=info.attempt,
            **_subject(input.args[0]),
        )
        await log.ainfo("step begins")
        try:
            result = await super().execute_activity(input)
        except BaseException as error:
            await log.awarning("step failed", error=str(error), error_type=type(error).__name__)
            raise
        await log.ainfo("step done", note=getattr(result, "note", ""))
        return result


def _subject(order: Any) -> dict[str, str | None]:
    """Which replica of which user cluster: an order has it in its pins, the preflight's request in its fields."""
    pins = getattr(order, "pins", order)
    replica = getattr(pins, "replica", None) or getattr(pins, "failed_replica", None)
    return {"user_cluster": getattr(pins, "user_cluster", None), "replica": replica}


def _unfold_temporal(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Temporal's loggers put what a line belongs to into one dictionary; ours stand side by side."""
    for source in ("temporal_workflow", "temporal_activity"):
        unfolded = event.pop(source, None) or {}
        for key, name in FROM_TEMPORAL.items():
            if key in unfolded:
                event.setdefault(name, unfolded[key])
    return event
