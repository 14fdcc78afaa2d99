"""A Ray cluster for tests, on this machine, in a folder and on ports of its own.

    python ray_cluster.py RAY_PROGRAM        # prints its URL and runs until it is interrupted

Nothing is stopped but what was started here: all of the cluster's processes stand in one session.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from lazyllm.jobs import runner


def find_ray() -> str | None:
    """Return the `ray` command: RAY_PROGRAM, of this Python's environment, or on PATH."""
    beside = Path(sys.executable).with_name("ray")
    return os.environ.get("RAY_PROGRAM") or (str(beside) if beside.exists() else shutil.which("ray"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Cluster:
    """One head node with pretended CPUs and GPUs."""

    def __init__(self, program: str, *, cpus: int = 8, gpus: int = 8, token: str = "") -> None:
        self.folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # short: Ray's sockets lie below it
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = token
        self.env = {
            name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "LAZYLLM_", "OMP_"))
        }
        self.env.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="token" if token else "disabled")
        self.env.update({"RAY_AUTH_TOKEN": token} if token else {})
        self.argv = [program, "start", "--head", "--port=0", "--include-dashboard=true"]
        self.argv += ["--dashboard-host=127.0.0.1", f"--dashboard-port={self.port}", "--dashboard-agent-listen-port=0"]
        self.argv += [f"--ray-client-server-port={free_port()}", "--min-worker-port=0", "--max-worker-port=0"]
        self.argv += [f"--num-cpus={cpus}", f"--num-gpus={gpus}", "--object-store-memory=80000000"]
        self.argv += [f"--temp-dir={self.folder}/t", '--resources={"blue": 2}', "--disable-usage-stats"]
        self.session = 0
        self.child: subprocess.Popen[bytes] | None = None

    def up(self, limit: float = 180) -> None:
        """Start it; returns when it takes jobs."""
        with Path(self.folder, "log").open("ab") as log:
            self.child = subprocess.Popen(
                self.argv, env=self.env, cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        self.session = self.child.pid
        end = time.monotonic() + limit
        while not self.answers():
            if self.child.poll() or time.monotonic() > end:
                raise RuntimeError(f"Ray does not start:\n{Path(self.folder, 'log').read_text()[-2000:]}")
            time.sleep(0.2)

    def answers(self) -> bool:
        """Say whether its node is known, which is the last thing to happen."""
        try:
            headers = {"Authorization": f"Bearer {self.token}"}
            request = urllib.request.Request(f"{self.url}/api/v0/nodes", headers=headers)
            with urllib.request.urlopen(request, timeout=5) as answer:
                return b'"ALIVE"' in answer.read()
        except (OSError, urllib.error.URLError):
            return False

    def processes(self) -> list[int]:
        """Return the PIDs of all that it consists of."""
        table = runner.processes()
        found = [pid for pid, (_, session, _) in table.items() if session == self.session]
        for one in found:  # jobs stand in sessions of their own
            found += [pid for pid, (parent, _, _) in table.items() if parent == one and pid not in found]
        return found

    def kill(self) -> None:
        """End it the hard way."""
        for _ in range(50):
            left = self.processes() if self.session else []
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            if self.child:
                self.child.poll()
            if not left:
                return
            time.sleep(0.05)

    def down(self) -> None:
        """End it, and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


if __name__ == "__main__":
    made = Cluster(sys.argv[1])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        made.up()
        print(made.url, flush=True)
        signal.pause()
    finally:
        made.down()
