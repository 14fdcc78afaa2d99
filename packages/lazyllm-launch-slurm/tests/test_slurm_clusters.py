"""A live job outlives whatever a query says that is not about it: another cluster's list, garbage, nothing at all."""

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from lazyllm.errors import LauncherError
from lazyllm.jobs import manage
from lazyllm.jobs.polling import Poller
from lazyllm.jobs.status import Status
from lazyllm_launch_slurm import judge, place
from lazyllm_launch_slurm.launcher import SlurmLauncher
from lazyllm_launch_slurm.parse import JOB_FIELDS, layout

pytestmark = [
    pytest.mark.slurm, pytest.mark.faults, pytest.mark.xdist_group("slurm"), pytest.mark.usefixtures("cluster"),
]  # fmt: skip
SCRIPT = str(Path(__file__).with_name("slurm_cluster.py"))


def slurm(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, timeout=60).stdout


def control(action: str, folder: str) -> str:
    return subprocess.run(
        [sys.executable, SCRIPT, action, folder], capture_output=True, text=True, check=True
    ).stdout.strip()


def cold():
    """Make this process as ignorant of Slurm's jobs as a new one."""
    for known in Poller.pollers.values():
        for jobid in list(known.followed):
            known.leave(jobid)
    Poller.pollers.clear()
    place.forget()


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """The configuration of a second cluster."""
    folder = "/tmp/slurm-other-%d" % os.getpid()  # noqa: UP031
    try:
        yield control("up", folder)
    finally:
        control("down", folder)


@pytest.fixture
def jobs(until):
    """A job that runs and one that waits, none of them young."""
    running = SlurmLauncher("debug", sync=False).makejob(["sleep", "300"])
    waiting = SlurmLauncher("debug", sync=False, options={"hold": True}).makejob(["sleep", "300"])
    for job in (running, waiting):
        job.quiet = True
        job.start()
    running.wait_ready(20)
    until(lambda: waiting.status is Status.InQueue)
    yield running, waiting
    for job in (running, waiting):
        job.stop()
        assert job.status is Status.Cancelled


@pytest.fixture
def hasty(monkeypatch):
    """No waiting: what is believed lost after minutes is believed lost at the second look."""
    monkeypatch.setattr(judge, "UNSURE", 0.0)
    monkeypatch.setattr(judge, "LOST", 0.0)
    monkeypatch.setattr("lazyllm_launch_slurm.poller.AGAIN", 0.0)


def looks(count=3):
    for _ in range(count):
        cold()
        found = {job.name: job.state for job in manage.ps()}
        time.sleep(0.5)
    return found


@pytest.mark.parametrize("conf_goes", [False, True])
def test_another_cluster_is_asked(jobs, hasty, other, monkeypatch, tmp_path, conf_goes):
    running, waiting = jobs
    for job in jobs:
        if conf_goes:  # the configuration that it was submitted with is not to be had here
            note = job.record.folder / "slurm.json"
            note.write_text(note.read_text().replace(os.environ["SLURM_CONF"], str(tmp_path / "slurm.conf")))
    with monkeypatch.context() as patch:
        patch.setenv("SLURM_CONF", other)
        looks()
        assert {job.state for job in manage.ps()} <= {Status.Running, Status.InQueue}
        assert slurm("squeue", "-h", "--all").strip() == ""
        if conf_goes:
            with pytest.raises(LauncherError, match="was submitted to the Slurm cluster loop .*, which is not the one"):
                waiting.stop()
    cold()
    assert running.status is Status.Running and waiting.status is Status.InQueue
    assert {*slurm("squeue", "-h", "-o", "%i").split()} >= {running.jobid, waiting.jobid}


def test_a_number_of_another_clusters_job_is_not_cancelled(jobs, other, monkeypatch, tmp_path):
    _, waiting = jobs
    own = os.environ["SLURM_CONF"]
    with monkeypatch.context() as patch:
        patch.setenv("SLURM_CONF", other)
        theirs = SlurmLauncher("debug", sync=False, options={"hold": True}).makejob(["sleep", "300"])
        theirs.start()
        assert slurm("squeue", "-h", "-o", "%i").split() == [theirs.jobid]
        note = waiting.record.folder / "slurm.json"
        kept, number = note.read_text(), waiting.record.jobid
        assert own in kept
        note.write_text(kept.replace(own, "/nowhere"))
        waiting.record.submitted(theirs.jobid)
        cold()
        with pytest.raises(LauncherError, match="which is not the one that"):
            waiting.stop()
        assert slurm("squeue", "-h", "-o", "%i").split() == [theirs.jobid]
        theirs.stop()
    note.write_text(kept)
    waiting.record.submitted(number)
    cold()


@pytest.mark.parametrize("answer", ["%%% <html>garbage", "", "JOBID STATE"])
def test_an_answer_that_is_none(jobs, hasty, monkeypatch, tmp_path, answer):
    running, waiting = jobs
    with monkeypatch.context() as patch:
        (tmp_path / "squeue").write_text(f"#!/bin/sh\necho '{answer}'\n")
        (tmp_path / "squeue").chmod(0o755)
        patch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        looks()
        assert {job.state for job in manage.ps()} <= {Status.Running, Status.InQueue}
    cold()
    assert running.status is Status.Running and waiting.status is Status.InQueue
    assert {*slurm("squeue", "-h", "-o", "%i").split()} >= {running.jobid, waiting.jobid}


def test_a_job_that_was_given_up_takes_its_record_back(jobs, hasty, monkeypatch, tmp_path, until):
    """Slurm's own list lacks it, for whatever reason, and its runner is on another machine and seems silent."""
    running, waiting = jobs
    head = slurm("squeue", "--name=none", "-O", layout(JOB_FIELDS))
    with monkeypatch.context() as patch:
        (tmp_path / "squeue").write_text(f"#!/bin/sh\necho '{head.splitlines()[0]}'\n")
        (tmp_path / "squeue").chmod(0o755)
        patch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        patch.setattr(os, "uname", lambda: SimpleNamespace(nodename="another"))
        looks()
        for job in jobs:
            assert job.details()["reason"].startswith("Slurm no longer knows it")
    until(lambda: running.record.state is Status.Running, 5)
    cold()
    assert manage.info(running.record).state is Status.Running and "lost" not in running.record.status()
    assert {*slurm("squeue", "-h", "-o", "%i").split()} >= {running.jobid, waiting.jobid}
    slurm("scontrol", "release", waiting.jobid)
    until(lambda: waiting.record.state is Status.Running)
    for job in jobs:
        job._status = {}  # what these objects were told
