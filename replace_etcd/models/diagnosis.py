"""What `doctor` asks the worker, and what the worker says of itself."""

from datetime import datetime

from pydantic import Field

from replace_etcd.models import Input, Message
from replace_etcd.models.orders import Done
from replace_etcd.models.plan import Check
from replace_etcd.models.request import Namespace

WORKFLOW_TYPE = "DiagnoseWorker"
ID_PREFIX = "diagnose-worker."


class DiagnosisRequest(Input):
    """The input of `DiagnoseWorker`; empty: what holds for every user cluster."""

    user_cluster: Namespace | None = Field(default=None, description="look at this user cluster, too")


class Diagnosed(Done):
    """The result of the one step."""

    checks: list[Check] = []
    host: str = ""
    version: str = ""


class Diagnosis(Message):
    """The result of `DiagnoseWorker`."""

    user_cluster: str | None = None
    checks: list[Check] = []
    host: str = ""
    version: str = ""
    made_at: datetime
