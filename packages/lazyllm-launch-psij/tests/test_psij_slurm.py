"""launchers.psij on a real Slurm cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from lazyllm.errors import JobError, LauncherError
from lazyllm.jobs import manage
from lazyllm.jobs.polling import Poller
from lazyllm.jobs.status import Status
from lazyllm.testing import LauncherConformance
from lazyllm.testing.programs import python
from lazyllm_launch_psij import cluster, judge, launcher
from lazyllm_launch_psij.commands import place_here
from lazyllm_launch_psij.launcher import PsijLauncher
from lazyllm_launch_psij.poller import poller

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm"), pytest.mark.usefixtures("slurm")]

SLURM = Path(__file__).parents[2] / "lazyllm-launch-slurm" / "tests" / "slurm_cluster.py"
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


def test_requeued_by_hand_it_runs_on():
    """Slurm would begin it anew, and its record had ended."""
    job = running("import time; time.sleep(3); print('whole')")
    done = subprocess.run(["scontrol", "requeue", str(job.jobid)], capture_output=True, text=True)
    assert done.returncode and job.wait(30) is Status.Done and job.output() == "whole\n"


def test_cancelled_in_slurm_is_told_apart_from_stopped():
    job = running(GRACEFUL)
    while "ready" not in job.output():
        time.sleep(0.05)
    subprocess.run(["scancel", str(job.jobid)], check=True)
    with pytest.raises(JobError, match="stopped by its scheduler"):
        job.wait(30)


@pytest.fixture
def other():
    """The configuration of a second cluster."""
    folder = tempfile.mkdtemp(prefix="slurm-", dir="/tmp")
    try:
        yield subprocess.run([sys.executable, SLURM, "up", folder], capture_output=True, text=True, check=True).stdout
    finally:
        subprocess.run([sys.executable, SLURM, "down", folder], capture_output=True, check=True)


@pytest.mark.faults
def test_one_path_names_two_clusters(other, monkeypatch, tmp_path):
    """As on two login nodes that share the homes: each has a configuration of its own, and jobs of the same numbers."""
    conf, home, later = tmp_path / "slurm.conf", os.environ["SLURM_CONF"], ["--begin=now+1hour", "--wrap=true"]
    conf.symlink_to(home)
    monkeypatch.setenv("SLURM_CONF", str(conf))
    waiting = PsijLauncher("slurm", sync=False, options={"begin": "now+1hour"}).makejob(["true"])
    waiting.start()
    jobs = [running("import time; time.sleep(300)"), waiting]
    conf.unlink()
    conf.symlink_to(other.strip())
    with monkeypatch.context() as patch:
        patch.setattr(os, "uname", lambda: SimpleNamespace(nodename="another"))
        for module, limit in ((cluster, "SAME"), (judge, "UNSURE"), (judge, "LOST"), (judge, "LAG")):
            patch.setattr(module, limit, 0.0)
        for taken in (False, True):
            if taken:
                while sbatch(*later) < max(int(str(job.jobid)) for job in jobs):
                    pass
            for _ in "ab":
                Poller.pollers.clear()
                found = {info.id: info.state for info in manage.ps()}
                assert [found[job.id] for job in jobs] == [Status.Running, Status.InQueue]
        with pytest.raises(LauncherError, match="another one answers here: loop"):
            manage.stop(waiting.id)
        assert {str(job.jobid) for job in jobs} <= {*subprocess.check_output(["squeue", "-ho%i"], text=True).split()}
    conf.unlink()
    conf.symlink_to(home)
    Poller.pollers.clear()
    for job in jobs:
        job.stop()
        assert job.status is Status.Cancelled


def sbatch(*options):
    return int(subprocess.check_output(["sbatch", "--parsable", "-o/dev/null", *options], text=True))


def test_another_job_of_its_number_is_left_alone():
    """As after the controller has lost its memory."""
    number = sbatch("--begin=now+1hour", "--wrap=true")
    job = PsijLauncher("slurm", sync=False, options={"begin": "now+1hour"}).makejob(["true"])
    job.start()
    own = str(job.jobid)
    job.record.submitted(str(number))
    Poller.pollers.clear()
    manage.stop(job.id)
    assert job.status is Status.Cancelled
    left = subprocess.check_output(["squeue", "-h", "-o%i"], text=True).split()
    assert str(number) in left
    subprocess.run(["scancel", own, str(number)], check=True)
