"""Settings of the API, read from the environment; each field is `REPLACE_ETCD_API_` plus its name in capitals."""

import ipaddress
import re
from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

LOCALHOST = "localhost"


class AlertAction(StrEnum):
    """What an alert may start: nothing that changes anything without a person."""

    DRY_RUN = "dry_run"
    REQUIRE_APPROVAL = "require_approval"


class ApiSettings(BaseSettings):
    """Where it listens, whom it knows, how much it takes, and what alerts mean."""

    model_config = SettingsConfigDict(env_prefix="REPLACE_ETCD_API_", frozen=True, env_ignore_empty=True)

    listen: str = Field(default="127.0.0.1:8080", description="HOST:PORT; [::1]:8080 for IPv6")
    tokens_file: Path = Field(
        default=Path("/etc/replace-etcd/tokens"), description="who may do what: `replace-etcd api token` adds"
    )
    tls_certificate: Path | None = Field(default=None, description="certificate chain, PEM")
    tls_key: Path | None = Field(default=None, description="its key, PEM, without a passphrase")
    tls_client_ca: Path | None = Field(
        default=None, description="authorities whose client certificates are demanded, PEM; none: no demand"
    )
    behind_proxy: bool = Field(
        default=False, description="plain HTTP on any address: a proxy in front speaks TLS"
    )
    trusted_proxies: str = Field(
        default="", description="addresses whose X-Forwarded-For is believed, by commas; none: nobody's"
    )
    public_url: str = Field(
        default="", description="how clients reach it, for absolute Locations; none: relative"
    )

    max_body_bytes: int = Field(default=262_144, ge=1024, description="PagerDuty sends up to 256 KiB")
    body_seconds: float = Field(default=10.0, gt=0, description="how long a body may take to arrive")
    request_seconds: float = Field(default=30.0, gt=0, description="how long an answer may take")
    answer_seconds: float = Field(
        default=10.0, gt=0, description="how long a worker may take to hear an approval or another word"
    )
    token_rate_per_minute: float = Field(default=300.0, gt=0, description="requests of one token")
    address_rate_per_minute: float = Field(
        default=120.0, gt=0, description="requests of one address without a token that is known"
    )
    max_connections: int = Field(default=200, ge=1)

    alert_action: AlertAction = AlertAction.DRY_RUN
    alert_user_cluster_label: str = "user_cluster"
    alert_replica_label: str = "pod"
    pagerduty_secrets_file: Path | None = Field(
        default=None,
        description="signing secrets of the webhook subscription, one a line; none: no PagerDuty",
    )
    pagerduty_title: str = Field(
        default=r"(?P<replica>[a-z0-9-]+-[0-9]+) of (?P<user_cluster>[a-z0-9-]+)",
        description="regular expression for an incident's title, with the groups user_cluster and replica",
    )
    pagerduty_replay_seconds: float = Field(
        default=3600.0,
        gt=0,
        description="an event older than that is only noted: PagerDuty retries for 20 minutes",
    )

    @field_validator("listen")
    @classmethod
    def _has_a_port(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise ValueError("write HOST:PORT, such as 127.0.0.1:8080")
        return value

    @field_validator("pagerduty_title")
    @classmethod
    def _names_both(cls, value: str) -> str:
        try:
            groups = re.compile(value).groupindex
        except re.error as error:
            raise ValueError(f"is no regular expression ({error})") from None
        if "user_cluster" not in groups:
            raise ValueError("needs the group (?P<user_cluster>...)")
        return value

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("TLS needs REPLACE_ETCD_API_TLS_CERTIFICATE and REPLACE_ETCD_API_TLS_KEY, both")
        if self.tls_client_ca and not self.tls_certificate:
            raise ValueError(
                "client certificates need TLS: set REPLACE_ETCD_API_TLS_CERTIFICATE and ..._TLS_KEY"
            )
        if not (self.tls_certificate or self.behind_proxy or self.is_local):
            raise ValueError(
                f"tokens would cross the network in the clear on {self.listen}: set REPLACE_ETCD_API_TLS_CERTIFICATE "
                "and ..._TLS_KEY, or REPLACE_ETCD_API_BEHIND_PROXY=true where a proxy in front speaks TLS"
            )
        return self

    @property
    def host(self) -> str:
        """The address to listen on."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port to listen on; 0: a free one."""
        return int(self.listen.rpartition(":")[2])

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return self.host == LOCALHOST or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
