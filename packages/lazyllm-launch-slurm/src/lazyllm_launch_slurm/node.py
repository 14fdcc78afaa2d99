"""The runner on a node of Slurm's: `python -I -S node.py RUNNER FOLDER`, Python >= 3.8 and its standard library alone.

To the runner of every job it adds what only the node can know or do: the node's address, a time limit in seconds, and
to end in a way that the job can begin again if it was Slurm that put it back into the queue.
"""

# ruff: noqa: PTH118, PTH120, PTH123, UP031

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time

try:
    from lazyllm.jobs import runner
except ImportError:  # on the node there is the file alone
    sys.path.insert(0, os.path.dirname(sys.argv[1]))
    import runner  # type: ignore[no-redef,import-not-found]

    del sys.path[0]


class Requeued(BaseException):
    """Slurm wants this job to stop now and to begin again later."""


class NodeRunner(runner.Runner):
    """One job, as Slurm's batch step."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        with open(os.path.join(folder, "slurm.json")) as file:
            asked = json.load(file)
        self.number = os.environ.get("SLURM_JOB_ID", "")
        self.node = os.environ.get("SLURMD_NODENAME") or os.uname().nodename
        self.host = address(asked.get("addresses", {}).get(self.node) or self.node)
        self.limit = asked.get("timeout")  # type: float | None
        self.begun = time.monotonic()
        self.ending = False
        # a name that no machine has: whether this runner lives is the scheduler's to say, a requeued one comes back
        self.status.update(node="slurm/" + self.node, machine=os.uname().nodename)

    def check(self) -> None:
        try:
            self.look()
        except BaseException:
            self.ending = True
            raise

    def look(self) -> None:
        """Raise what ends this job, if it is time, or if Slurm says so."""
        spent = time.monotonic() - self.begun
        slurm = self.why() if self.terms else ""
        if slurm == "requeue":
            raise Requeued
        if self.limit and (spent >= self.limit or (slurm == "limit" and spent > self.limit - 5)):
            raise runner.Ended("did not end within its timeout of %g s" % self.limit)
        if slurm == "limit":
            raise runner.Ended("Slurm's time limit was reached")
        super().check()

    def reap(self) -> None:
        """Take the ends of children. Slurm's signal goes to them too: if one dies first, it did not fail by itself."""
        super().reap()
        if self.code is None or self.ending:
            return
        by_signal = self.code in (signal.SIGTERM, (128 + signal.SIGTERM) << 8)
        if not self.terms and (by_signal or self.job.get("service")):
            self.sleep(0.3)
        if self.terms:
            self.check()

    def end_tree(self) -> list[int]:
        self.ending = True
        return super().end_tree()

    def sleep(self, seconds: float) -> None:
        left = self.limit - (time.monotonic() - self.begun) if self.limit else 0
        super().sleep(min(seconds, left) if left > 0 else seconds)

    def why(self) -> str:
        """Return why Slurm ends this job: `requeue`, `limit` or nothing in particular."""
        import subprocess

        try:
            if b" is UP" not in output(subprocess, "scontrol", "ping"):
                return ""
            text = output(subprocess, "scontrol", "show", "job", "-o", self.number).decode("utf-8", "replace")
        except (OSError, subprocess.SubprocessError):
            return ""
        facts = dict(word.split("=", 1) for word in text.split() if "=" in word)
        restarts = facts.get("Restarts", "0")
        if restarts.isdigit() and int(restarts) > int(os.environ.get("SLURM_RESTART_COUNT") or 0):
            return "requeue"
        return "limit" if facts.get("Reason") == "TimeLimit" or facts.get("JobState") == "TIMEOUT" else ""

    def back_to_the_queue(self) -> int:
        """End all that runs; keep what the next start needs."""
        self.end_tree()
        self.say(
            state="InQueue",
            phase="starting",
            pid=None,
            step=None,
            address=None,
            ready=False,
            reason="requeued",
        )
        return 1


def output(subprocess, *argv: str) -> bytes:  # type: ignore[no-untyped-def]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=2, check=False)
    return done.stdout  # type: ignore[no-any-return]


def address(name: str) -> str:
    """Return the address of this node by which others know it and which can be bound here; else 0.0.0.0.

    Where a distribution's /etc/hosts gives the node's own name an address of the loopback, the one is taken from which
    the submitting machine is reached.
    """
    found = resolve(name)
    literal = found == [name]
    wide = [ip for ip in found if literal or not (ip.startswith("127.") or ip == "::1")]
    if not wide:
        wide = [ip for ip in map(toward, resolve(os.environ.get("SLURM_SUBMIT_HOST", ""))) if ip]
    for ip in wide:
        if runner.port_free(ip, 0):
            return ip
    return "0.0.0.0"  # noqa: S104 (the runner tells the node's name instead)


def resolve(name: str) -> list[str]:
    try:
        rows = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM) if name else []
    except OSError:
        return []
    return list(dict.fromkeys(str(row[4][0]) for row in sorted(rows, key=lambda row: row[0] != socket.AF_INET)))


def toward(ip: str) -> str:
    """Return the address of this machine that speaks to `ip`, nothing being sent; empty if it is the loopback's."""
    with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((ip, 9))
            mine = str(probe.getsockname()[0])
        except OSError:
            return ""
    return "" if mine.startswith("127.") or mine == "::1" else mine


def main(folder: str) -> int:
    job = NodeRunner(folder)
    try:
        return job.run()
    except Requeued:
        return job.back_to_the_queue()


if __name__ == "__main__":
    os._exit(main(sys.argv[2]))
