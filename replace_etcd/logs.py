"""Logging: JSON lines for machines, colours on a terminal; each line carries what it belongs to.

Workflow and activity code logs with `workflow.logger` and `activity.logger`; here at the edge structlog renders
the lines and binds workflow id, run id, activity, attempt, user cluster and replica.
"""

import logging
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

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


def bind(**values: Any) -> None:
    """Bind values to every later line of this task."""
    structlog.contextvars.bind_contextvars(**values)


def _unfold_temporal(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Temporal's loggers put what a line belongs to into one dictionary; ours stand side by side."""
    for source in ("temporal_workflow", "temporal_activity"):
        unfolded = event.pop(source, None) or {}
        for key, name in FROM_TEMPORAL.items():
            if key in unfolded:
                event.setdefault(name, unfolded[key])
    return event
