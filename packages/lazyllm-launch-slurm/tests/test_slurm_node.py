"""The runner on a node, where Slurm's word comes late or not at all; a program of the tests speaks for Slurm."""

import os
import signal
import subprocess
import sys
import time

import pytest

from lazyllm.jobs import recording, runner
from lazyllm.jobs.command import Command
from lazyllm.jobs.runner import write_json

RUN = """
import os, sys
from lazyllm_launch_slurm import node
node.LATE = float(sys.argv[2])
os._exit(node.main(sys.argv[1]))
"""
SCONTROL = """#!/bin/sh
test -e '{0}/away' && echo 'Slurmctld(primary) at m is DOWN' && exit 1
test "$1" = ping && echo 'Slurmctld(primary) at m is UP' || cat '{0}/job'
"""
CANCELLED, REQUEUED = "JobState=COMPLETING Reason=None Restarts=0", "JobState=COMPLETING Reason=None Restarts=1"
DEPARTS = "(sleep 0.05) & (sleep 0.2; kill -TERM $PPID) & exit {}"


class Slurm:
    """Slurm as a job's runner sees it."""

    def __init__(self, folder, environ):
        self.folder, self.environ = folder, environ
        self.runners = []

    def says(self, text):
        (self.folder / "job").write_text(text)

    def away(self, away):
        (self.folder / "away").touch() if away else (self.folder / "away").unlink()

    def start(self, program, late=0.0):
        """Run a shell's program under a runner that waits so long for Slurm's signal; return its record and it."""
        argv = ["sh", "-c", program]
        made = recording.create(Command.of(argv), name="t", launcher="slurm", env={}, owner=None, notify=False)
        write_json(str(made.folder / "slurm.json"), {"addresses": {}})
        self.runners.append(
            subprocess.Popen([sys.executable, "-c", RUN, str(made.folder), str(late)], env=self.environ)
        )
        return made, self.runners[-1]


@pytest.fixture
def slurm(tmp_path):
    for name, text in (("scontrol", SCONTROL.format(tmp_path)), ("job", CANCELLED)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    told = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "12", "SLURMD_NODENAME": "127.0.0.1"}
    made = Slurm(tmp_path, {**os.environ, **told})
    yield made
    for running in made.runners:
        running.kill()
        running.wait()


@pytest.mark.parametrize("code", [0, 1])
@pytest.mark.parametrize(
    "said, state, reason", [(CANCELLED, "Cancelled", "cancelled in Slurm"), (REQUEUED, "InQueue", "requeued")]
)
def test_a_program_that_ends_before_its_runner_is_told_to(slurm, code, said, state, reason):
    slurm.says(said)
    record, running = slurm.start(DEPARTS.format(code), late=10.0)  # a busy machine is late
    assert running.wait(20) == 1
    assert (record.status()["state"], record.status()["reason"]) == (state, reason)


@pytest.mark.parametrize(
    "said, state, reason", [(CANCELLED, "Cancelled", "cancelled in Slurm"), (REQUEUED, "InQueue", "requeued")]
)
def test_slurms_word_is_waited_for(slurm, until, said, state, reason):
    slurm.away(True)
    slurm.says(said)
    record, running = slurm.start("echo up; exec sleep 300")
    until(lambda: "up" in record.log.read_text())
    running.send_signal(signal.SIGTERM)
    until(lambda: runner.family(record.id) == {})
    time.sleep(1.5)
    assert record.status()["state"] == "Running" and running.poll() is None
    slurm.away(False)
    running.wait(20)
    assert (record.status()["state"], record.status()["reason"]) == (state, reason)


def test_who_is_asked_to_stop_waits_for_no_word(slurm, until):
    slurm.away(True)
    record, running = slurm.start("echo up; exec sleep 300")
    until(lambda: "up" in record.log.read_text())
    record.ask_to_end()
    running.send_signal(signal.SIGTERM)
    running.wait(20)
    assert (record.status()["state"], record.status()["reason"]) == ("Cancelled", "stopped")


def test_where_slurm_knows_nothing_of_a_job(slurm, until):
    slurm.says("slurm_load_jobs error: Invalid job id specified")
    record, running = slurm.start("echo up; exec sleep 300")
    until(lambda: "up" in record.log.read_text())
    running.send_signal(signal.SIGTERM)
    running.wait(20)
    assert record.status()["state"] == "Cancelled"


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGQUIT])
def test_signals_for_the_program_reach_it(slurm, until, number):
    name = signal.Signals(number).name.removeprefix("SIG")
    record, running = slurm.start(f"trap 'echo heard; exit 7' {name}; echo up; while :; do sleep 0.05; done")
    until(lambda: "up" in record.log.read_text())
    running.send_signal(number)
    running.wait(20)
    status = record.status()
    assert (status["state"], status["exit_code"]) == ("Failed", 7) and "heard" in record.log.read_text()
