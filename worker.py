"""The composition root: settings -> clients -> activities -> Worker. Run it with `python worker.py`."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from datetime import timedelta

import structlog
from pydantic import ValidationError
from temporalio.client import Client
from temporalio.worker import Worker

from activities.audit_log import AuditActivities
from activities.data_directory import DataDirectoryActivities
from activities.dead_node import DeadNodeActivities
from activities.doctor import DoctorActivities
from activities.etcd_members import EtcdMemberActivities
from activities.janitor import JanitorActivities
from activities.node import NodeActivities
from activities.notifications import NotificationActivities
from activities.pod_disruption_budget import PodDisruptionBudgetActivities
from activities.preflight import PreflightActivities
from activities.replacement_record import RecordActivities
from activities.restart import RestartActivities
from activities.runs import RunActivities
from activities.snapshot import SnapshotActivities
from activities.standing_edit import GuardActivities
from activities.stateful_set import StatefulSetActivities
from activities.step import TemporalIdentity, Toolbox
from activities.utility_pod import UtilityPodActivities
from activities.verification import VerificationActivities
from replace_etcd import kubernetes_cluster, logs, temporal
from replace_etcd.audit.keeper import AuditKeeper
from replace_etcd.errors import ReplacementError
from replace_etcd.leaving import leave_with
from replace_etcd.receivers import Receivers
from replace_etcd.settings import Settings
from replace_etcd.token_bucket import TokenBucket
from workflows.doctor import DiagnoseWorker
from workflows.replace_etcd_replica import ReplaceEtcdReplica
from workflows.restore_interrupted import RestoreInterruptedReplacement
from workflows.telling import DeliverAudit

STEPS = (
    PreflightActivities,
    RecordActivities,
    PodDisruptionBudgetActivities,
    StatefulSetActivities,
    NodeActivities,
    UtilityPodActivities,
    EtcdMemberActivities,
    DataDirectoryActivities,
    RestartActivities,
    VerificationActivities,
    SnapshotActivities,
    GuardActivities,
    DeadNodeActivities,
    RunActivities,
    JanitorActivities,
    DoctorActivities,
    AuditActivities,
    NotificationActivities,
)


def build(client: Client, tools: Toolbox) -> Worker:
    """Everything that runs on the task queue."""
    activities = [
        getattr(steps, name)
        for steps in (kind(tools) for kind in STEPS)
        for name in dir(steps)
        if hasattr(getattr(steps, name), "__temporal_activity_definition")
    ]
    return Worker(
        client,
        task_queue=tools.settings.task_queue,
        workflows=[ReplaceEtcdReplica, RestoreInterruptedReplacement, DiagnoseWorker, DeliverAudit],
        activities=activities,
        workflow_failure_exception_types=[ValidationError],
        interceptors=[logs.StepLogs()],
        # A cancel reaches an activity with a heartbeat; by default those are held back for 8 of 10 seconds.
        max_heartbeat_throttle_interval=timedelta(seconds=2),
        max_concurrent_activities=tools.settings.max_concurrent_activities,
        graceful_shutdown_timeout=timedelta(seconds=tools.settings.graceful_shutdown_seconds),
    )


async def run(settings: Settings) -> None:
    """Check that both ends answer, then work until SIGTERM or SIGINT."""
    log = structlog.get_logger()
    client = await temporal.connect()
    await temporal.register_search_attributes(client)
    identity = TemporalIdentity(await temporal.cluster_id(client), client.namespace)
    limit = TokenBucket(settings.api_qps, settings.api_burst)
    cluster = await kubernetes_cluster.connect(os.environ.get("KUBECONFIG"), settings.context, limit)
    try:
        version = await cluster.version()
        runs = temporal.TemporalRuns(client, identity.cluster_id)
        audit, messenger = AuditKeeper.of(settings), Receivers.of(settings)
        worker = build(client, Toolbox(cluster, settings, identity, runs, audit, messenger))
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with worker:
            if problem := await temporal.see_to_schedule(
                client, settings.task_queue, settings.janitor_interval_seconds
            ):
                log.warning("no janitor looks after interrupted replacements", reason=problem)
            log.info(
                "worker ready", task_queue=settings.task_queue, kubernetes=version, namespace=client.namespace
            )
            await stop.wait()
            log.info("worker stops", grace_seconds=settings.graceful_shutdown_seconds)
    finally:
        await cluster.close()


def main() -> int:
    """Exit code 0 after a stop, 2 where a setting or an end is wrong."""
    try:
        settings = Settings()
    except ValidationError as error:
        wrong = "; ".join(f"REPLACE_ETCD_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
        print(f"worker: {wrong}", file=sys.stderr)  # noqa: T201 - logging is not configured yet
        return 2
    logs.configure(settings.log_format)
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(run(settings))
    except (temporal.NotReady, kubernetes_cluster.ConfigException, ReplacementError) as error:
        structlog.get_logger().error("worker cannot start", reason=str(error))
        return 2
    return 0


if __name__ == "__main__":
    leave_with(main)
