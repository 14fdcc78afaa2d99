"""Stops that Slurm does not help with, and jobs that Slurm would begin anew."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from lazyllm.errors import LauncherError
from lazyllm.jobs import manage, runner
from lazyllm.jobs.polling import Poller
from lazyllm.jobs.status import Status
from lazyllm_launch_slurm.launcher import SlurmLauncher

pytestmark = [
    pytest.mark.slurm, pytest.mark.faults, pytest.mark.xdist_group("slurm"), pytest.mark.usefixtures("cluster"),
]  # fmt: skip


@pytest.fixture
def launcher():
    return SlurmLauncher("debug", sync=False)


def slurm(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, timeout=60).stdout


@pytest.mark.parametrize("force", [False, True])
def test_a_stop_that_slurm_cannot_hear(cluster, launcher, force):
    job = launcher.makejob(["sleep", "300"])
    job.start()
    job.wait_ready(20)
    cluster("stop")
    try:
        assert manage.stop(job.id, force=force).state is Status.Cancelled
        assert job.details()["reason"] == "stopped" and runner.family(job.id) == {}
    finally:
        cluster("start")


def test_a_stop_that_slurm_refuses(launcher, tmp_path, monkeypatch, until):
    running = launcher.makejob(["sleep", "300"])
    waiting = SlurmLauncher("debug", options={"hold": True}).makejob(["true"])
    running.start()
    waiting.start()
    running.wait_ready(20)
    until(lambda: waiting.status is Status.InQueue)
    with monkeypatch.context() as patch:
        (tmp_path / "scancel").write_text("#!/bin/sh\necho scancel: error: Access denied >&2; exit 1\n")
        (tmp_path / "scancel").chmod(0o755)
        patch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        running.stop()
        assert running.status is Status.Cancelled and running.details()["reason"] == "stopped"
        with pytest.raises(LauncherError, match="Access denied"):
            waiting.stop()
        assert waiting.status is Status.InQueue and not waiting.record.stopping
    waiting.stop()
    assert waiting.status is Status.Cancelled


@pytest.mark.parametrize("asked_by, long", [("ps", False), ("reap", False), ("reap", True)])
def test_what_was_closed_while_the_controller_was_away_is_cancelled_later(cluster, until, asked_by, long):
    job = SlurmLauncher("debug", sync=False, options={"hold": True}).makejob(["echo", "never"])
    job.start()
    until(lambda: job.status is Status.InQueue)
    cluster("stop")
    try:
        assert manage.stop(job.id, force=True).state is Status.Cancelled
        assert manage.reap() == [] and job.record.status()["unconfirmed"]
        until(lambda: job._watcher.over)
    finally:
        for known in Poller.pollers.values():
            known.followed.clear()
        Poller.pollers.clear()  # as in another process
        cluster("start")
    assert job.jobid in slurm("squeue", "-h", "-o", "%i").split()
    time.sleep(2.5 if long else 0)  # from then on every list that is asked for has it cancelled
    found = getattr(manage, asked_by)()
    assert job.jobid not in slurm("squeue", "-h", "-o", "%i").split()
    assert [report.id for report in found] == [job.id] and job.record.state is Status.Cancelled
    assert asked_by == "ps" or found[0].reason == "was still held by its scheduler"
    assert "unconfirmed" not in job.record.status() and manage.reap() == []


@pytest.mark.parametrize("how, state", [("scancel", Status.Cancelled), ("scontrol requeue", Status.InQueue)])
def test_what_slurm_ends_has_not_ended_well(launcher, until, how, state):
    jobs = [launcher.makejob("sleep 300; echo on") for _ in range(12)]  # a shell may go on before it is told to end
    for job in jobs:
        job.start()
    for job in jobs:
        job.wait_ready(60)
    time.sleep(0.5)
    for job in jobs:
        slurm(*how.split(), job.jobid)
    until(lambda: all(job.status is not Status.Running for job in jobs))
    assert {job.status for job in jobs} == {state}
    for job in jobs:
        slurm("scancel", job.jobid)


def test_a_requeue_by_a_controller_that_falls_silent(cluster, launcher, until):
    job = launcher.makejob(["sleep", "300"])
    job.start()
    job.wait_ready(20)
    slurm("scontrol", "requeue", job.jobid)
    os.kill(int((Path(cluster.folder) / "slurmctld.pid").read_text()), signal.SIGSTOP)  # before it can tell why
    try:
        time.sleep(5)
        assert not job.record.state.ended
    finally:
        cluster("go")
    until(lambda: job.status is Status.InQueue)
    assert runner.family(job.id) == {}
    job.stop()


def test_a_closed_record_ends_its_job(launcher, until):
    job = launcher.makejob(["sleep", "300"])
    job.start()
    job.wait_ready(20)
    job.record.finish(Status.Failed, "given up")
    until(lambda: runner.family(job.id) == {}, 5)
    assert job.record.status()["reason"] == "given up"


def put_back(launcher, until, how: str):
    """Have a job run that Slurm puts back into its queue after the end, as a controller does that forgot its start."""
    job = launcher.makejob(["echo", "once"])
    job.start()
    job.wait(20)
    until(lambda: "JobState=COMPLETED" in slurm("scontrol", "show", "job", "-o", job.jobid))
    time.sleep(2.5)
    slurm("scontrol", how, job.jobid)
    return job


def test_what_has_ended_is_not_begun_anew(launcher, until):
    job = put_back(launcher, until, "requeue")
    slurm("scontrol", "update", f"JobId={job.jobid}", "StartTime=now")  # else it waits for two minutes
    until(lambda: "JobState=FAILED" in slurm("scontrol", "show", "job", "-o", job.jobid))
    assert job.output() == "once\n" and job.record.state is Status.Done


def test_what_has_ended_does_not_wait_for_ever(launcher, until):
    job, other = put_back(launcher, until, "requeuehold"), launcher.makejob(["sleep", "300"])
    assert job.jobid in slurm("squeue", "-h", "-t", "PD", "-o", "%i").split()
    other.start()
    until(lambda: job.jobid not in slurm("squeue", "-h", "-t", "PD", "-o", "%i").split(), 5)
    other.stop()
    assert job.record.state is Status.Done
