"""Starts one process inside namespaces: a container's first process, or an exec into a container.

It plays runc. It is a script of its own, stdlib only, because namespaces are entered by whole processes: the
supervisor must stay where it is. `python -I -S container_init.py SPEC` forks the wanted process, reports its
pid on the status descriptor and exits; the supervisor, a child subreaper, inherits the process and its exit
status. The descriptor closes at a successful exec; what else comes before that is the reason of the failure.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import platform
import signal
import socket
import stat
import sys
import termios
from typing import Any, NoReturn

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 0x1, 0x20, 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
# statvfs reports exactly these mount flags; a remount in a user namespace must repeat those that are set.
LOCKED_FLAGS = 0x2 | 0x4 | 0x8 | 0x400 | 0x800
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
SYS_MOUNT_SETATTR = 442
AT_FDCWD, AT_RECURSIVE = -100, 0x8000

HOST_FOLDERS = ("/usr", "/nix")
HOST_LINKS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
HOST_SETTINGS = ("/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """mount(2); Python has no call for it."""
    encoded = [part.encode() if part is not None else None for part in (source, target, kind, data)]
    _check(
        _libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]), f"mount {target}"
    )


def unmount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _check(_libc.umount2(target.encode(), flags), f"umount {target}")


def _make_read_only(target: str) -> None:
    attributes = (ctypes.c_uint64 * 4)(MS_RDONLY, 0, 0, 0)
    done = _libc.syscall(
        ctypes.c_long(SYS_MOUNT_SETATTR),
        AT_FDCWD,
        target.encode(),
        AT_RECURSIVE,
        attributes,
        ctypes.c_size_t(32),
    )
    if done != 0:  # kernels before 5.12: the topmost mount alone can be remounted
        locked = os.statvfs(target).f_flag & LOCKED_FLAGS
        mount("none", target, None, MS_REMOUNT | MS_BIND | MS_RDONLY | locked)


def _bind(source: str, target: str, *, read_only: bool) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        open(target, "w").close()
    mount(source, target, None, MS_BIND | MS_REC)
    if read_only:
        _make_read_only(target)


def _bind_host(root: str) -> None:
    """The programs of the host, read-only: an image of the smallest kind, with a shell and the core utilities."""
    for path in HOST_FOLDERS + HOST_SETTINGS:
        if os.path.exists(path):
            _bind(path, root + path, read_only=True)
    for path in HOST_LINKS:
        if os.path.islink(path):
            os.symlink(os.readlink(path), root + path)
        elif os.path.isdir(path):
            _bind(path, root + path, read_only=True)


def _make_devices(root: str) -> None:
    os.mkdir(f"{root}/dev")
    for name in DEVICES:
        if os.path.exists(f"/dev/{name}"):
            _bind(f"/dev/{name}", f"{root}/dev/{name}", read_only=False)
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink(f"/proc/self/fd{target}", f"{root}/dev/{name}")
    os.makedirs(f"{root}/dev/shm")  # noqa: S108 - the container's own


def _write_files(root: str, files: dict[str, str]) -> None:
    for path, text in files.items():
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        with open(root + path, "w") as handle:
            handle.write(text)


def _enter_own_root(spec: dict[str, Any]) -> None:
    """A root of its own on a tmpfs that only this mount namespace knows: it vanishes with the container."""
    root = spec["root"]
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", root, "tmpfs", 0, "mode=755,size=256m")
    _bind_host(root)
    _make_devices(root)
    _write_files(root, spec["files"])
    for folder in ("proc", "root", "run", "var/tmp", "tmp"):
        os.makedirs(f"{root}/{folder}", exist_ok=True)
    os.chmod(f"{root}/tmp", stat.S_ISVTX | 0o777)  # noqa: S103, S108 - as every /tmp, and the container's own
    mount("proc", f"{root}/proc", "proc")
    for entry in spec["mounts"]:
        _bind(entry["source"], root + entry["target"], read_only=entry["read_only"])
    os.chdir(root)
    _check(_libc.syscall(ctypes.c_long(SYS_PIVOT_ROOT[platform.machine()]), b".", b"."), "pivot_root")
    unmount(".", MNT_DETACH)


def _exec(spec: dict[str, Any]) -> NoReturn:
    os.setsid()
    if spec["tty"]:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for name in (
        signal.SIGPIPE,
        signal.SIGXFSZ,
    ):  # Python ignores both, and what is ignored stays so over an exec
        signal.signal(name, signal.SIG_DFL)
    os.chdir(spec["cwd"])
    os.execvpe(spec["argv"][0], spec["argv"], spec["env"])  # noqa: S606


def _enter(path: str, kind: int) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    _check(_libc.setns(descriptor, kind), f"setns {path}")
    os.close(descriptor)


def _prepare_container(spec: dict[str, Any]) -> None:
    """The pod's network namespace is shared by its containers; all else is the container's own."""
    _enter(spec["network"], CLONE_NEWNET)
    _check(_libc.unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID), "unshare")
    socket.sethostname(spec["hostname"])


def _prepare_exec(spec: dict[str, Any]) -> None:
    folder = f"/proc/{spec['target']}/ns"
    kinds = {
        "net": CLONE_NEWNET,
        "uts": CLONE_NEWUTS,
        "ipc": CLONE_NEWIPC,
        "pid": CLONE_NEWPID,
        "mnt": CLONE_NEWNS,
    }
    descriptors = [
        (os.open(f"{folder}/{name}", os.O_RDONLY | os.O_CLOEXEC), kind) for name, kind in kinds.items()
    ]
    for descriptor, kind in descriptors:
        _check(_libc.setns(descriptor, kind), "setns")


def main() -> None:
    """Fork into the namespaces that the specification names, report, and leave."""
    spec = json.loads(sys.argv[1])
    status = spec["status"]
    os.set_inheritable(status, False)
    try:
        (_prepare_exec if "target" in spec else _prepare_container)(spec)
        pid = os.fork()
        if pid:
            os.write(status, f"{pid}\n".encode())
            return
        if "target" not in spec:
            _enter_own_root(spec)
        _exec(spec)
    except OSError as error:
        os.write(status, json.dumps({"errno": error.errno, "message": str(error)}).encode() + b"\n")
        os._exit(128)


if __name__ == "__main__":
    main()
