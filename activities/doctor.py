"""What the worker sees before anything is asked of it: the admin cluster, its rights, its settings. Read-only."""

import os
from importlib.metadata import PackageNotFoundError, version

from activities.fleet_stop import stop_reason
from activities.preflight_checks import Findings
from activities.preflight_rights import GRANT, evidence_of, missing_rights, rights, rights_for_any
from activities.snapshot_on_worker import host
from activities.step import Toolbox, step
from replace_etcd.cluster import PDB, STATEFUL_SET, Object
from replace_etcd.errors import ReplacementError
from replace_etcd.models.diagnosis import Diagnosed, DiagnosisRequest
from replace_etcd.pod_template import NotFound, container_index, find_flag


class DoctorActivities:
    """The step that examines the worker itself."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools

    @step
    async def diagnose(self, request: DiagnosisRequest) -> Diagnosed:
        """Look at everything; what cannot be asked is a finding of its own, and the rest is looked at all the same."""
        findings = Findings()
        looks = [self._admin_cluster, self._rights, self._stop, self._settings]
        if request.user_cluster:
            looks += [self._user_cluster]
        for look in looks:
            try:
                await look(findings, request.user_cluster or "")
            except ReplacementError as error:
                name = look.__name__.strip("_").replace("_", " ")
                findings.refuse(
                    name, f"could not be asked: {error}", "see the worker's log and its KUBECONFIG"
                )
        return Diagnosed(checks=findings.checks, host=host(), version=_version())

    async def _admin_cluster(self, findings: Findings, _: str) -> None:
        findings.ok("admin cluster", f"Kubernetes {await self._tools.cluster.version()} answers the worker")

    async def _rights(self, findings: Findings, user_cluster: str) -> None:
        wanted = rights_for_any(self._tools.settings)
        missing = await missing_rights(self._tools, wanted)
        findings.judge("permissions, everywhere", not missing, evidence_of(missing, len(wanted)), GRANT)
        if user_cluster:
            here = [
                each
                for each in rights(self._tools.settings, user_cluster, whole_node=True)
                if each not in wanted
            ]
            missing = await missing_rights(self._tools, here)
            findings.judge(
                f"permissions, {user_cluster}", not missing, evidence_of(missing, len(here)), GRANT
            )

    async def _stop(self, findings: Findings, _: str) -> None:
        reason = await stop_reason(self._tools)
        findings.judge("stop for the fleet", reason is None, reason or "nobody has said stop", "delete it")

    async def _settings(self, findings: Findings, _: str) -> None:
        settings = self._tools.settings
        if settings.utility_image == type(settings).model_fields["utility_image"].default:
            findings.warn(
                "utility image",
                settings.utility_image,
                "set REPLACE_ETCD_UTILITY_IMAGE to your version's tag",
            )
        else:
            findings.ok("utility image", settings.utility_image)
        directory = settings.snapshot_dir
        if directory is None:
            findings.warn("snapshots", "none is kept", "set REPLACE_ETCD_SNAPSHOT_DIR")
        else:
            usable = os.access(directory, os.W_OK | os.X_OK) and directory.is_dir()
            way_out = "make REPLACE_ETCD_SNAPSHOT_DIR a directory that the worker may write to"
            findings.judge("snapshots", usable, f"{directory} on {host()}", way_out)

    async def _user_cluster(self, findings: Findings, user_cluster: str) -> None:
        settings, cluster = self._tools.settings, self._tools.cluster
        found = await cluster.get(STATEFUL_SET, settings.stateful_set, user_cluster)
        if found is None:
            evidence = f"there is no StatefulSet {user_cluster}/{settings.stateful_set}"
            findings.refuse(
                "etcd", evidence, "name the user cluster's namespace, or set REPLACE_ETCD_STATEFUL_SET"
            )
            return
        try:
            evidence = self._etcd(found)
        except NotFound as error:
            findings.refuse(
                "etcd", str(error), "set REPLACE_ETCD_CONTAINER, or write the flag into the template"
            )
            return
        ready = (found.get("status") or {}).get("readyReplicas", 0)
        findings.ok("etcd", f"{evidence}, {ready} of {found['spec']['replicas']} ready")
        if await cluster.get(PDB, settings.pdb, user_cluster) is None:
            way_out = "a temporary one stands during a replacement; or set REPLACE_ETCD_PDB"
            findings.warn("PodDisruptionBudget", f"there is no {user_cluster}/{settings.pdb}", way_out)
        else:
            findings.ok("PodDisruptionBudget", f"{user_cluster}/{settings.pdb}")

    def _etcd(self, stateful_set: Object) -> str:
        name = self._tools.settings.container
        template = stateful_set["spec"]["template"]["spec"]
        image = template["containers"][container_index(template, name)].get("image", "no image")
        return f"container {name}: {image}, {find_flag(template, name).original}"


def _version() -> str:
    try:
        return version("replace-etcd")
    except PackageNotFoundError:
        return "unknown"
