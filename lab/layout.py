"""The files that a lab keeps in its directory on the host; everything else is on a tmpfs that vanishes with it."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Names below the lab's directory."""

    directory: Path

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, with a client certificate inside."""
        return self.directory / "kubeconfig"

    @property
    def control_socket(self) -> Path:
        """Where `lab break` and `lab status` find a running lab."""
        return self.directory / "control.sock"

    @property
    def certificates(self) -> Path:
        """The certificates of the user cluster's etcd."""
        return self.directory / "etcd-certificates"

    @property
    def log(self) -> Path:
        """What the supervisor has to say."""
        return self.directory / "lab.log"

    @property
    def data(self) -> Path:
        """The mount point of the lab's tmpfs: empty on the host."""
        return self.directory / "data"

    def remove(self) -> None:
        """Remove every file that a lab makes, and nothing else; idempotent."""
        shutil.rmtree(self.certificates, ignore_errors=True)
        for file in (self.kubeconfig, self.control_socket, self.log):
            file.unlink(missing_ok=True)
        with suppress(OSError):
            self.data.rmdir()
