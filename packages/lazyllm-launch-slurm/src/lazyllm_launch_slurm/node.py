"""The runner on a node of Slurm's: `python -I -S node.py RUNNER FOLDER`, Python >= 3.8 and its standard library alone.

To the runner of every job it adds what Slurm knows: the node's address, why a job has to end, and to end in a way that
the job can begin again if it was Slurm that put it back into the queue. It passes signals on to the job's program, and
gives signs of life in the job's record.
"""

# ruff: noqa: PTH118, PTH120, PTH123, PTH208, UP031

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time

try:
    from lazyllm.jobs import runner
    from lazyllm_launch_slurm.ends import ENDS
except ImportError:  # on the node there are the files alone
    sys.path[:0] = [os.path.dirname(sys.argv[1]), os.path.dirname(__file__)]
    import runner  # type: ignore[no-redef,import-not-found]
    from ends import ENDS  # type: ignore[no-redef,import-not-found]

    del sys.path[:2]


TYPE_CHECKING = False  # typing costs milliseconds at run time
if TYPE_CHECKING:
    from typing import Any


REASONS = {"TimeLimit": "TIMEOUT", "DeadLine": "DEADLINE", "NodeDown": "NODE_FAIL"}
"""Reasons that say more than the state, which may be COMPLETING by then."""
PASSED_ON = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGQUIT)
"""Signals for the program that runs: sbatch's --signal=B:USR1@90 sends this one to the batch step's first process."""
LATE, SUSPECT = 0.03, 0.3
"""Seconds by which Slurm's signal may reach this runner later than a program, which may have ended by it; after an end
that looks so, or of a server, which ends by nothing else, longer."""


class Requeued(BaseException):
    """Slurm wants this job to stop now and to begin again later."""


class NodeRunner(runner.Runner):
    """One job, as Slurm's batch step."""

    beat = 15.0

    def __init__(self, folder: str) -> None:
        self.node = os.environ.get("SLURMD_NODENAME") or os.uname().nodename
        super().__init__(folder)
        self.number = os.environ.get("SLURM_JOB_ID", "")
        self.ending = False
        # a name that no machine has: whether this runner lives is the scheduler's to say, a requeued one comes back
        self.status.update(node="slurm/" + self.node, machine=os.uname().nodename)

    def prepare(self) -> None:
        super().prepare()
        for number in PASSED_ON:
            signal.signal(number, self.pass_on)

    def pass_on(self, number: int, _: object) -> None:
        """Send a signal to the step's program; it gets none after its end, whoever has its number by then."""
        pid, born = self.status["pid"], self.status["pid_created"]
        if pid:
            runner.kill(pid, born, number)  # type: ignore[arg-type]

    def find_host(self) -> str:
        with open(os.path.join(self.folder, "slurm.json")) as file:
            addresses = json.load(file)["addresses"]
        return runner.node_address(os.environ.get("SLURM_SUBMIT_HOST", ""), addresses.get(self.node) or self.node)

    def check(self) -> None:
        try:
            self.look()
        except BaseException:
            self.ending = True
            raise

    def look(self) -> None:
        """Raise what ends this job, if it is time, or if Slurm says so."""
        slurm = self.word() if self.terms else ""
        if slurm == "TIMEOUT" and self.left() < 5:
            raise self.timed_out()
        if slurm in ENDS and not (slurm == "CANCELLED" and self.unwanted()):
            state, reason = ENDS[slurm]
            raise runner.Ended(reason, state)
        if self.closed():
            raise runner.Ended("its record was closed", "Cancelled")
        if runner.over(self.folder):
            self.say()
        super().check()

    def closed(self) -> bool:
        """Say whether this job's record was closed, and not because the job seemed lost."""
        return runner.over(self.folder) and not lost(self.folder)

    def word(self) -> str:
        """Return Slurm's word for why it ends this job. If nobody else wants that, its word is waited for.

        Slurm kills a job, this runner too, some time after its signal. The record stays open then, and whoever asks
        Slurm later learns whether the job has ended or is to begin again.
        """
        told = self.why()
        if told is None and not self.unwanted():
            self.end_tree()
        while told is None and not self.unwanted() and not self.closed():
            self.sleep(0)  # the end of the program that asked is no news
            self.sleep(1.0)
            told = self.why()
        return told or ""

    def say(self, **changes: object) -> None:
        """Write status.json, and take the record back if it was closed because this job seemed lost."""
        take_back(self.folder)
        super().say(**changes)

    def reap(self) -> None:
        """Take the ends of children. Slurm's signal goes to them too: if one dies first, it did not fail by itself."""
        super().reap()
        if self.code is None or self.ending:
            return
        by_signal = self.code in (signal.SIGTERM, (128 + signal.SIGTERM) << 8)
        self.listen(SUSPECT if by_signal or self.job.get("service") else LATE)
        if self.terms:
            self.check()

    def listen(self, seconds: float) -> None:
        """Sleep until this runner is told to end; others' signals do not shorten it."""
        end = time.monotonic() + seconds
        while not self.terms and time.monotonic() < end:
            self.sleep(end - time.monotonic())

    def step(self, step: dict[str, Any], name: str, last: bool) -> None:
        """Run a step. Of several processes the first that failed by itself tells why: the others were killed then."""
        for path in self.failures():
            runner.remove(path)  # of a run before the job was put back into the queue
        try:
            super().step(step, name, last)
        except runner.Ended as end:
            if end.state == "Failed" and "exit_code" in end.facts:
                self.explain(end, name)
            raise

    def failures(self) -> list[str]:
        """Return the files that processes which failed left behind."""
        try:
            found = os.listdir(self.folder)
        except OSError:
            return []  # a network drive may falter
        return [os.path.join(self.folder, file) for file in found if re.match(r"failed-\d+\.json$", file)]

    def explain(self, end: runner.Ended, name: str) -> None:
        """Put what the first process that failed left behind in the place of srun's word."""
        told = []
        for path in self.failures():
            try:
                with open(path) as file:
                    told.append(json.load(file))
            except (OSError, ValueError) as error:
                sys.stderr.write("Could not read %s: %s\n" % (path, error))
        if not told:
            return
        first = min(told, key=lambda one: one["when"])
        number, code = first.get("signal"), first["exit_code"]
        how = "failed with exit code %d" % code
        if number:
            end.facts["signal"] = known = signal.Signals(number).name if number in set(signal.Signals) else str(number)
            how = "was ended by %s" % known
        where = "in rank %d, on the node %s" % (first["rank"], first["node"])
        end.facts["exit_code"] = code
        end.facts["reason"] = "step '%s' %s %s" % (name, how, where)
        if first.get("why"):
            end.facts["reason"] = "step '%s', %s: %s" % (name, where, first["why"])

    def end_tree(self) -> list[int]:
        self.ending = True
        return super().end_tree()

    def why(self) -> str | None:
        """Return Slurm's word for why it ends this job, "" for nothing in particular, None if it says nothing now.

        Raises:
            Requeued: the job is to begin again.
        """
        import subprocess

        try:
            if b" is UP" not in output(subprocess, "scontrol", "ping"):
                return None
            text = output(subprocess, "scontrol", "show", "job", "-o", self.number).decode("utf-8", "replace")
        except OSError:
            return ""  # scontrol is not here
        except subprocess.SubprocessError:
            return None
        if "JobState=" not in text:
            return "" if "Invalid job id" in text else None
        facts = dict(word.split("=", 1) for word in text.split() if "=" in word)
        restarts = facts.get("Restarts", "0")
        if restarts.isdigit() and int(restarts) > int(os.environ.get("SLURM_RESTART_COUNT") or 0):
            raise Requeued
        state = facts.get("JobState", "")
        if state == "COMPLETING":  # it hides why, and this job has not ended by itself
            state = "CANCELLED" if facts.get("PreemptTime", "None") == "None" else "PREEMPTED"
        return REASONS.get(facts.get("Reason", ""), state)

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
            reads_notes=False,
            reason="requeued",
        )
        return 1


def output(subprocess, *argv: str) -> bytes:  # type: ignore[no-untyped-def]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=2, check=False)
    return done.stdout  # type: ignore[no-any-return]


def lost(folder: str) -> bool:
    """Say whether a job's record was closed for want of any sign of life, and not by anybody's will."""
    try:
        with open(os.path.join(folder, "status.json")) as file:
            return json.load(file).get("lost") is True
    except (OSError, ValueError):
        return False


def take_back(folder: str) -> None:
    """Reopen the record of a job that was believed lost: here it is."""
    if lost(folder):
        runner.remove(os.path.join(folder, "status.json"))


def main(folder: str) -> int:
    take_back(folder)
    if runner.over(folder):
        return 1  # a controller that forgot its start begins it anew
    job = NodeRunner(folder)
    try:
        return job.run()
    except Requeued:
        return job.back_to_the_queue()


if __name__ == "__main__":
    os._exit(main(sys.argv[2]))
