"""The part of a job on all nodes but the first: `python -I -S worker.py FOLDER`.

It runs each step that lead.py announces on the first node, writes nothing into the job's record but `nodes/`, and ends
when the job does.
"""

# ruff: noqa: PTH105, PTH116, PTH118, PTH123, PTH202, T201, UP031

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

TYPE_CHECKING = False  # typing costs milliseconds at run time
if TYPE_CHECKING:
    from typing import Any

LOOK = 0.2
GRACE = 5.0
STALE = 600.0
"""Seconds to wait for the first node if the record tells of an earlier run's end."""
AWAY = 60.0
"""Seconds for which the job's folder may be out of sight: a file system that is shared has its moments."""


def read(path: str) -> dict:  # type: ignore[type-arg]
    try:
        with open(path) as file:
            return json.load(file)  # type: ignore[no-any-return]
    except (OSError, ValueError):
        return {}


class Worker:
    """One node's part of a job."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.nodes = os.path.join(folder, "nodes")
        self.rank = os.environ["RANK"]
        self.log = os.path.join(self.nodes, "output-%s.log" % self.rank)
        self.job = read(os.path.join(folder, "job.json"))
        self.steps = read(os.path.join(folder, "sco.json")).get("spread", 0)
        self.before = self.run_of(self.status()) if self.status().get("phase") == "ended" else None
        self.begun = self.there = time.monotonic()
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.told)

    def told(self, *_: object) -> None:
        self.asked = True

    def status(self) -> dict:  # type: ignore[type-arg]
        return read(os.path.join(self.folder, "status.json"))

    @staticmethod
    def run_of(status: dict) -> list:  # type: ignore[type-arg]
        return [status.get("runner_pid"), status.get("runner_created")]

    def over(self) -> bool:
        """Say whether the job has ended, or was asked to. An end that was there before this node began is another's."""
        status = self.status()
        if self.asked or self.gone():
            return True
        if status.get("phase") != "ended":
            return False
        return self.run_of(status) != self.before or time.monotonic() - self.begun > STALE

    def gone(self) -> bool:
        """Say whether the job's folder has not been seen for a while."""
        now = time.monotonic()
        with suppress(OSError):
            os.stat(self.folder)
            self.there = now
        return now - self.there > AWAY

    def patiently(self, do: Any) -> Any:
        """Return what `do` does with the job's folder, again and again if need be; None if the job is over before."""
        end = time.monotonic() + AWAY
        while not self.over():
            try:
                return do()
            except OSError:
                if time.monotonic() > end:
                    raise
            time.sleep(LOOK)
        return None

    def environment(self) -> dict:  # type: ignore[type-arg]
        added = dict(self.job.get("env") or {})
        added.update(read(os.path.join(self.folder, "secrets.json")))
        added.update(LAZYLLM_JOB_ID=self.job["id"], LAZYLLM_JOB_DIR=self.folder, LAZYLLM_JOB_DETACHED=self.job["id"])
        added.update(LAZYLLM_JOB_RANKS="1")  # of what all nodes return, the first one's value counts
        named = {
            key.encode("utf-8", "surrogateescape"): text.encode("utf-8", "surrogateescape")
            for key, text in added.items()
        }
        return {**os.environb, **named}

    def await_step(self, number: int) -> dict | None:  # type: ignore[type-arg]
        """Return what the first node runs as its step; None if the job ends before."""
        path = os.path.join(self.nodes, "step-%d.json" % number)
        while not self.over():
            step = read(path)
            if step and step["run"] == self.run_of(self.status()):
                return step
            time.sleep(LOOK)
        return None

    def step(self, step: dict) -> int | None:  # type: ignore[type-arg]
        """Run a step and return its exit code, below 0 for a signal; None if it was ended with the job."""
        argv, words = step["argv"], step["words"]
        for i in range(words):
            if argv[i].startswith("${"):
                argv[i] = os.environ.get(argv[i][2:-1], argv[i])
        argv = [item.encode("utf-8", "surrogateescape") for item in argv]
        log = self.patiently(lambda: open(self.log, "ab"))  # noqa: SIM115
        if log is None:
            return None
        with log:
            child = subprocess.Popen(
                argv, env=self.environment(), cwd=self.job.get("cwd"), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        while child.poll() is None:
            if self.over():
                self.end(child)
                return None
            with suppress(subprocess.TimeoutExpired):
                child.wait(LOOK)
        return child.returncode

    @staticmethod
    def end(child: subprocess.Popen[bytes]) -> None:
        for number, seconds in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
            with suppress(OSError):
                os.killpg(child.pid, number)
            with suppress(subprocess.TimeoutExpired):
                child.wait(seconds)

    def publish(self, name: str, told: object) -> None:
        """Have the first node see a file `name`, whole or not at all."""
        path = os.path.join(self.nodes, name)
        with open(path + ".new", "w") as file:
            json.dump(told, file)
        os.replace(path + ".new", path)

    def fail(self, reason: str, code: int) -> int:
        """Tell the first node, which fails the job for all."""
        try:
            with open(self.log, "rb") as file:
                file.seek(max(0, os.path.getsize(self.log) - 8192))
                lines = file.read().decode("utf-8", "replace").splitlines()[-15:]
        except OSError:
            lines = []
        told = {
            "rank": self.rank,
            "node": os.uname().nodename,
            "reason": reason,
            "code": code,
            "output": "\n".join(lines),
        }
        self.patiently(lambda: self.publish("failed-%s.json" % self.rank, told))
        print("%s\n%s" % (reason, told["output"]), flush=True)
        while not self.over():
            time.sleep(LOOK)
        return code

    def main(self) -> int:
        for number in range(self.steps):
            step = self.await_step(number)
            if step is None:
                return 0
            try:
                code = self.step(step)
            except OSError as error:
                return self.fail("the program %r cannot be started: %s" % (step["argv"][0], error.strerror), 127)
            if code is None:
                return 0
            if code:
                how = "failed with exit code %d" % code if code > 0 else "was ended by signal %d" % -code
                return self.fail("its step %s" % how, code if code > 0 else 128 - code)
            done = "done-%d-%s" % (number, self.rank)
            self.patiently(lambda done=done: self.publish(done, None))
        while not self.over():
            time.sleep(LOOK)
        return 0


if __name__ == "__main__":
    sys.exit(Worker(sys.argv[1]).main())
