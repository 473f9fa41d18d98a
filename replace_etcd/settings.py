"""Settings of the worker, read from the environment: the vendor's names are the defaults."""

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def _audit_file() -> str:
    """Where the XDG base directory specification has state that outlives a restart."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return f"sqlite:///{Path(state) / 'replace-etcd' / 'audit.db'}"


class Settings(BaseSettings):
    """Names of objects, and how patient the steps are; each field is `REPLACE_ETCD_` plus its name in capitals.

    Addresses and credentials come from where their own tools look: `KUBECONFIG` (or the service account),
    and `TEMPORAL_*` by `temporalio.envconfig`.
    """

    model_config = SettingsConfigDict(env_prefix="REPLACE_ETCD_", frozen=True)

    task_queue: str = "replace-etcd"
    context: str | None = Field(
        default=None, description="context of the kubeconfig; its current one by default"
    )

    stateful_set: str = "kube-etcd"
    container: str = "kube-etcd"
    pdb: str = "kube-etcd-pdb"
    certificates_secret_prefix: str = "kube-etcd-certs"  # noqa: S105 - the prefix of a name, no secret
    certificates_directory: str = "/etcd.local.config/certificates"
    client_endpoint: str = "https://127.0.0.1:2379"
    record: str = "kube-etcd-replacement"

    stop_config_map: str = Field(
        default="kube-system/replace-etcd-stop",
        pattern="^[^/]+/[^/]+$",
        description="while this ConfigMap (NAMESPACE/NAME) exists, no replacement starts or removes a member",
    )
    own_pod: str = Field(
        default_factory=lambda: os.uname().nodename,
        description="the worker's own pod, which a drain must not evict; a pod's host name by default",
    )

    utility_image: str = "gcr.io/gke-on-prem-release/etcd-util:latest"
    utility_name_prefix: str = "etcd-utility"
    management_namespace_suffix: str = "-gke-onprem-mgmt"

    snapshot_dir: Path | None = Field(
        default=None, description="directory of the worker for a survivor's snapshot; none: none is taken"
    )
    namespaces: Annotated[list[str], NoDecode] = Field(
        default=[], description="user clusters whose records are looked after, by commas; none: all of them"
    )
    janitor_interval_seconds: float = Field(
        default=60.0, ge=0, description="how often records are looked at; 0: no Schedule"
    )
    stuck_after_seconds: float = Field(
        default=3600.0, gt=0, description="how long a record may stand still before the alarm is raised"
    )

    audit: str = Field(
        default_factory=_audit_file,
        repr=False,  # it may hold a password
        description="the audit's database, as a SQLAlchemy URL (SQLite or PostgreSQL); empty: no audit is kept",
    )

    notify_webhook_url: SecretStr | None = Field(
        default=None, description="gets each notice as JSON (docs/audit.md)"
    )
    notify_webhook_secret: SecretStr | None = Field(default=None, description="signs what the webhook gets")
    notify_slack_url: SecretStr | None = Field(
        default=None, description="incoming webhook of Slack, or of a chat that reads its format"
    )
    notify_pagerduty_key: SecretStr | None = Field(
        default=None, description="integration key of PagerDuty's Events API v2"
    )
    notify_pagerduty_url: str = "https://events.pagerduty.com/v2/enqueue"
    notify_seconds: float = Field(default=10.0, gt=0, description="how long one receiver may take to answer")

    failure_probe_seconds: float = Field(
        default=10.0, ge=0, description="how long a member must be seen to fail"
    )
    eviction_grace_seconds: int = Field(default=3, ge=1)
    command_timeout_seconds: int = Field(default=8, ge=1)
    api_qps: float = Field(
        default=100.0,
        ge=0,
        description="requests a second to the API server, of the whole worker; 0: no limit",
    )
    api_burst: int = Field(default=200, ge=1, description="how many of them at once, after a pause")
    max_concurrent_activities: int = Field(default=50, ge=1)
    graceful_shutdown_seconds: float = Field(default=20.0, ge=0)
    log_format: str = Field(default="auto", pattern="^(auto|json|console)$")

    @field_validator("notify_webhook_url", "notify_slack_url")
    @classmethod
    def _http(cls, value: SecretStr | None) -> SecretStr | None:
        """The address itself is not shown: it may be a secret."""
        if value is not None and not value.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("is no http:// or https:// address")
        return value

    @field_validator("namespaces", mode="before")
    @classmethod
    def _by_commas(cls, value: Any) -> Any:
        """As a person writes a list into an environment variable."""
        return (
            [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value
        )
