"""launchers.psij on a real Slurm cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from lazyllm.errors import JobError, LauncherError
from lazyllm.jobs.status import Status
from lazyllm.testing import LauncherConformance
from lazyllm.testing.programs import python
from lazyllm_launch_psij import launcher
from lazyllm_launch_psij.commands import place_here
from lazyllm_launch_psij.launcher import PsijLauncher
from lazyllm_launch_psij.poller import poller

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm"), pytest.mark.usefixtures("slurm")]

GRACEFUL = """
import signal, time
def end(*_): time.sleep(1); print("saved", flush=True); raise SystemExit
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
time.sleep(300)
"""


class TestPsijSlurm(LauncherConformance):
    def make(self, **kw):
        return PsijLauncher("slurm", "debug", **kw)


def running(program, **kw):
    job = PsijLauncher("slurm", sync=False, **kw).makejob(python(program))
    job.start()
    job.wait_ready(30)
    return job


def test_gpus_and_cpus_are_given():
    program = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['SLURM_CPUS_PER_TASK'])"
    job = PsijLauncher("slurm", ncpus=2, ngpus=2).makejob(python(program))
    PsijLauncher("slurm").launch(job)
    assert job.output() == "0,1 2\n"


@pytest.mark.parametrize(
    "wish, words",
    [({"queue": "nosuch"}, "invalid partition"), ({"ngpus": 99}, "configuration is not available"),
     ({"options": {"nosuch": 1}}, "unrecognized option"), ({"queue": "closed"}, "partition.* state|inactive")],
)  # fmt: skip
def test_refused_in_slurms_words(wish, words):
    with pytest.raises(LauncherError, match=rf"(?i)Slurm refused the job: .*({words})") as caught:
        PsijLauncher("slurm", **wish).launch(["true"])
    assert "sinfo -s lists the queues" in str(caught.value)


def test_what_slurm_can_never_start_is_given_up():
    job = PsijLauncher("slurm", "debug", ncpus=99, sync=False).makejob(["true"])
    job.start()
    assert job.status is Status.InQueue
    with pytest.raises(JobError, match=r"Slurm would never start it: its queue has no node that large .*Ask for less"):
        job.wait(30)
    left = subprocess.run(["squeue", "-h", "-t", "PD", "-j", str(job.jobid)], capture_output=True, text=True)
    assert left.stdout == ""


def test_options_reach_slurm():
    job = running("import time; time.sleep(300)", options={"comment": "a b; c [d]", "nice": 7}, timeout=100)
    shown = subprocess.run(["scontrol", "show", "job", str(job.jobid)], capture_output=True, text=True).stdout
    assert "Comment=a b; c [d]" in shown and "Nice=7" in shown and "TimeLimit=00:03:00" in shown
    job.stop()


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_program_has_time_to_end(elsewhere, monkeypatch):
    job = running(GRACEFUL)
    if elsewhere:
        monkeypatch.setattr(launcher, "signal_runner", lambda *_: False)
    while "ready" not in job.output():
        time.sleep(0.05)
    job.stop()
    assert job.output() == "ready\nsaved\n" and job.status is Status.Cancelled


def test_cancelled_in_slurm():
    job = running("import time; time.sleep(300)")
    subprocess.run(["scancel", str(job.jobid)], check=True)
    with pytest.raises(JobError):
        job.wait(30)
    assert job.status in (Status.Cancelled, Status.Failed)  # Slurm tells runner and program at once


def test_cancelled_in_slurm_while_it_waits():
    job = PsijLauncher("slurm", sync=False, options={"begin": "now+1hour"}).makejob(["true"])
    job.start()
    time.sleep(1.5)
    assert job.status is Status.InQueue
    subprocess.run(["scancel", str(job.jobid)], check=True)
    seen = []
    while not (seen and seen[-1].ended):
        seen.append(job.status)
        time.sleep(0.05)
    assert set(seen) == {Status.InQueue, Status.Cancelled}
    with pytest.raises(JobError, match="cancelled in Slurm"):
        job.wait(30)


def test_a_controller_that_is_away_is_no_failed_job(slurm):
    job = running("import time; time.sleep(6); print('whole')")
    slurm("stop")
    try:
        time.sleep(3)
        assert job.status is Status.Running
        assert job.wait(30) is Status.Done and job.output() == "whole\n"
    finally:
        slurm("start")


def test_a_runner_that_is_killed():
    job = running("import time; time.sleep(300)")
    os.kill(job.details()["runner_pid"], signal.SIGKILL)
    with pytest.raises(JobError, match="runner died"):
        job.wait(30)
    assert poller("slurm", place_here("slurm")).queries
