"""Captures what a release of etcd really answers, for tests of the parsing: `python -m tests.unit.capture_etcd DIR`.

DIR holds etcd and etcdctl. A voter and a learner run on the loopback; their answers go to `etcd_outputs/VERSION.json`.
"""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

OUTPUTS = Path(__file__).parent / "etcd_outputs"
JSON = ("-w", "json")
QUOTA = 1 << 17


class Capture:
    """Two members of one release, and what its tools say."""

    def __init__(self, binaries: Path, directory: Path) -> None:
        self.binaries = binaries
        self.directory = directory
        self.client, self.peer, self.other_client, self.other_peer = (_free_port() for _ in range(4))
        self.answers: dict[str, dict[str, object]] = {}

    def run(self, *words: str, port: int | None = None, seconds: int = 5) -> subprocess.CompletedProcess[str]:
        """Run `etcdctl` against the first member."""
        limits = (f"--command-timeout={seconds}s", "--dial-timeout=2s")
        endpoint = f"--endpoints=http://127.0.0.1:{port or self.client}"
        return self._run(self.binaries / "etcdctl", endpoint, *limits, *words)

    def keep(self, name: str, *words: str, port: int | None = None, seconds: int = 5) -> None:
        """Keep an answer under a name."""
        self._keep(name, self.run(*words, port=port, seconds=seconds))

    def keep_snapshot(self) -> None:
        """3.6 reads a snapshot with etcdutl only, 3.4 has none."""
        file = str(self.directory / "snapshot.db")
        self.run("snapshot", "save", file)
        tool = self.binaries / "etcdutl"
        tool = tool if tool.exists() else self.binaries / "etcdctl"
        self._keep("snapshot status", self._run(tool, "snapshot", "status", file, *JSON))

    @contextmanager
    def member(self, name: str, client: int, peer: int, state: str, others: str = "") -> Iterator[None]:
        """A member that runs while the block does."""
        urls = (f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}")
        flags = {
            "name": name,
            "data-dir": str(self.directory / name),
            "listen-client-urls": urls[0],
            "advertise-client-urls": urls[0],
            "listen-peer-urls": urls[1],
            "initial-advertise-peer-urls": urls[1],
            "initial-cluster": f"{others}{name}={urls[1]}",
            "initial-cluster-state": state,
            "quota-backend-bytes": str(QUOTA),
        }
        words = [str(self.binaries / "etcd"), *(f"--{key}={value}" for key, value in flags.items())]
        log = (self.directory / f"{name}.log").open("wb")
        process = subprocess.Popen(words, stdout=log, stderr=log)
        try:
            self._until_answered(client)
            yield
        finally:
            process.terminate()
            process.wait()
            log.close()

    def _until_answered(self, port: int) -> None:
        until = time.monotonic() + 30
        while self.run("endpoint", "status", port=port).returncode != 0:
            assert time.monotonic() < until, f"etcd on port {port} does not answer"

    def _keep(self, name: str, answer: subprocess.CompletedProcess[str]) -> None:
        self.answers[name] = {
            "exit_code": answer.returncode,
            "stdout": answer.stdout,
            "stderr": "".join(
                answer.stderr.splitlines(keepends=True)[-2:]
            ),  # the same again for each try before
        }

    def _run(self, *words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def capture(binaries: Path) -> None:
    """Everything that the product reads."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        one = Capture(binaries, Path(directory))
        stack.enter_context(one.member("first", one.client, one.peer, "new"))
        one.keep("version", "version")
        one.run("put", "key", "value")
        one.keep("member remove, unknown", "member", "remove", "abc")
        added = ("member", "add", "second", f"--peer-urls=http://127.0.0.1:{one.other_peer}", "--learner")
        one.keep("member add, learner", *added)
        one.keep("member list, not started", "member", "list", *JSON)
        one.keep("member add, again", *added)
        others = f"first=http://127.0.0.1:{one.peer},"
        with one.member("second", one.other_client, one.other_peer, "existing", others):
            one.keep("member list", "member", "list", *JSON)
            one.keep("member list, for people", "member", "list")
            one.keep("endpoint status", "endpoint", "status", *JSON)
            one.keep("endpoint status, learner", "endpoint", "status", *JSON, port=one.other_client)
            one.keep("endpoint health", "endpoint", "health", *JSON)
            one.keep("endpoint health, learner", "endpoint", "health", *JSON, port=one.other_client)
            one.keep("endpoint hashkv", "endpoint", "hashkv", *JSON)
            one.keep("member list, of a learner", "member", "list", *JSON, port=one.other_client)
        one.keep("endpoint status, nobody", "endpoint", "status", *JSON, port=one.other_client, seconds=1)
        one.keep("alarm list, none", "alarm", "list", *JSON)
        for _ in range(6):
            one.run("put", "key", "x" * (QUOTA // 2))
        one.keep("alarm list", "alarm", "list", *JSON)
        one.keep("alarm disarm", "alarm", "disarm", *JSON)
        one.keep_snapshot()
        one.keep("user list", "user", "list")
        for words in (
            ("user", "add", "root:root"),
            ("user", "grant-role", "root", "root"),
            ("auth", "enable"),
        ):
            one.run(*words)
        one.keep("auth status", "--user=root:root", "auth", "status", *JSON)
        one.keep("user list, denied", "user", "list")
        one.keep("member list, with authentication", "member", "list", *JSON)
        version = str(one.answers["version"]["stdout"]).split()[2]
    OUTPUTS.mkdir(exist_ok=True)
    text = json.dumps(one.answers, indent=1)
    (OUTPUTS / f"{version}.json").write_text(text + "\n")


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        if not shutil.which(str(Path(argument) / "etcd")):
            sys.exit(f"{argument} holds no etcd")
        capture(Path(argument))
