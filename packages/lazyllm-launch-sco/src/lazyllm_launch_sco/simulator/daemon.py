"""Runs one job of the simulated SenseCore: `python -I -S daemon.py FOLDER ID`, its nodes being processes under it."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from .world import World

PR_SET_CHILD_SUBREAPER, CLONE_NEWUTS = 36, 0x04000000
LOOK = 0.02


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def children() -> list[int]:
    """Return all live processes under this one."""
    parents: dict[int, list[int]] = {}
    for name in (path.name for path in Path("/proc").iterdir()):
        if name.isdigit():
            try:
                fields = Path(f"/proc/{name}/stat").read_bytes().rpartition(b")")[2].split()
            except OSError:
                continue
            if fields[0] not in b"ZX":
                parents.setdefault(int(fields[1]), []).append(int(name))
    found, todo = [], [os.getpid()]
    while todo:
        more = parents.get(todo.pop(), [])
        found += more
        todo += more
    return found


class Daemon:
    """One job."""

    def __init__(self, world: World, jobid: str) -> None:
        self.world, self.jobid = world, jobid
        self.job = world.job(jobid)
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def state(self, word: str, **facts: Any) -> None:
        self.world.change(self.jobid, state=word, **facts)

    def wait(self, word: str, knob: str) -> str:
        """Be in a state for as long as a setting says; return what ended that before its time."""
        self.state(word)
        begun = time.monotonic()
        while time.monotonic() - begun < float(self.world.knob(knob)):
            if told := self.world.told(self.jobid, "kill", "stop", "delete", "suspend"):
                return told
            time.sleep(LOOK)
        return ""

    def run(self) -> None:
        told = self.wait("QUEUEING", "queue") or self.wait("CREATING", "create")
        while not told:
            told = self.containers()
            if told == "restart":
                told = self.wait("RECOVERING", "queue")
        if told in ("stop", "suspend", "kill"):
            self.state("SUSPENDED")
        elif told == "delete":
            (self.world.jobs / f"{self.jobid}.json").unlink(missing_ok=True)

    def containers(self) -> str:
        """Run all nodes to their end; return what ended them from outside, or `over`."""
        self.state("STARTING")
        port = free_port()
        nodes = [self.node(rank, port) for rank in range(self.job["nodes"])]
        self.state("RUNNING")
        while True:
            codes = [node.poll() for node in nodes]
            told = self.world.told(self.jobid, "kill", "restart", "stop", "delete", "suspend")
            if told:
                self.end(nodes, hard=told in ("kill", "restart"))
                return told
            if all(code == 0 for code in codes) or any(codes):
                self.end(nodes, hard=False)
                self.state("FAILED" if any(codes) else "SUCCEEDED", code=next((c for c in codes if c), 0))
                time.sleep(0.3)  # for what a tool says that saw it run
                return self.world.told(self.jobid, "delete") or "over"
            time.sleep(LOOK)

    def node(self, rank: int, port: int) -> subprocess.Popen[bytes]:
        environ = {
            "HOME": os.environ.get("HOME", "/"), "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8",
            "RANK": str(rank), "WORLD_SIZE": str(self.job["nodes"]), "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }  # fmt: skip
        with self.world.log(self.jobid).open("ab") as log:
            return subprocess.Popen(
                self.job["argv"], env=environ, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=lambda: self.rename(rank),
            )  # fmt: skip

    def rename(self, rank: int) -> None:
        if self.world.knob("hostnames") and self.libc.unshare(CLONE_NEWUTS) == 0:
            name = f"{self.jobid}-worker-{rank}".encode()
            self.libc.sethostname(name, len(name))

    def end(self, nodes: list[subprocess.Popen[bytes]], hard: bool) -> None:
        """End the nodes' first processes in order, then all that is left of them."""
        for node in nodes:
            if node.poll() is None and not hard:
                node.send_signal(signal.SIGTERM)
        end = time.monotonic() + (0 if hard else float(self.world.knob("grace")))
        while any(node.poll() is None for node in nodes) and time.monotonic() < end:
            time.sleep(LOOK)
        while left := children():
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    continue
            while True:
                try:
                    if not os.waitpid(-1, os.WNOHANG)[0]:
                        break
                except OSError:
                    break
            time.sleep(LOOK)


def main(folder: str, jobid: str) -> None:
    Daemon(World(folder), jobid).run()


def spawn(world: World, jobid: str) -> None:
    """Start a job's daemon, which nothing ties to its starter: not even as its child."""
    source = str(Path(__file__).absolute().parents[2])
    code = f"import os, sys; os.fork() and os._exit(0); sys.path.insert(0, {source!r}); "
    code += "from lazyllm_launch_sco.simulator.daemon import main; "
    starter = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code + "main(*sys.argv[1:])", str(world.folder), jobid],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=(world.folder / "daemon.err").open("a"),
        env={"HOME": os.environ.get("HOME", "/")}, start_new_session=True,
    )  # fmt: skip
    starter.wait()
