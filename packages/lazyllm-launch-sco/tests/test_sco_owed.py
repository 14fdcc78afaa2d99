"""Jobs that were stopped before SenseCore listed them are cancelled there, by whoever sees them listed."""

import subprocess
import sys
import time

import pytest

from lazyllm.jobs import manage
from lazyllm.jobs.status import Status
from lazyllm_launch_sco import owed
from lazyllm_launch_sco.backend import backend_of
from lazyllm_launch_sco.poller import ScoPoller

pytestmark = pytest.mark.usefixtures("quick")
SRUN = pytest.mark.parametrize("generation", ["older", pytest.param("newer", marks=pytest.mark.faults)], indirect=True)


@pytest.fixture
def short_lived(monkeypatch):
    """Have this process see to nothing later on, as one that has ended."""
    monkeypatch.setattr(ScoPoller, "owe", lambda *_: None)


@pytest.fixture
def unlisted(world, make):
    """A job that was stopped while it waited and was not listed."""
    world.control(listed_after=3600, queue=60)
    job = make(sync=False).makejob(["echo", "never"])
    job.quiet = True
    job.start()
    begun = time.monotonic()
    job.stop()
    assert time.monotonic() - begun < 5 and job.status is Status.Cancelled
    assert [job["state"] for job in world.every()] == ["QUEUEING"] and owes(job)
    return job


def owes(job):
    return bool(job.record.status().get("unconfirmed"))


@SRUN
def test_the_process_that_stopped_it_cancels_it_later(world, unlisted, until):
    world.control(listed_after=0)
    until(lambda: not owes(unlisted))
    until(lambda: not world.every())  # its daemon has heard
    assert unlisted.status is Status.Cancelled and unlisted.details()["reason"] == "stopped"


@pytest.mark.usefixtures("short_lived")
@pytest.mark.parametrize("command", ["ps", "reap"])
def test_so_does_another_that_lists_or_reaps(world, unlisted, until, command):
    argv = [sys.executable, "-m", "lazyllm", command]
    assert subprocess.run(argv, capture_output=True, timeout=60).returncode == 0
    assert owes(unlisted)
    world.control(listed_after=0)
    assert subprocess.run(argv, capture_output=True, timeout=60).returncode == 0
    assert not owes(unlisted)
    until(lambda: not world.every())
    before = len(world.calls())
    manage.ps()
    assert len(world.calls()) == before


def test_what_is_never_listed_is_forgotten(unlisted, monkeypatch):
    tools = backend_of("srun", "space")
    monkeypatch.setattr(type(tools), "find", lambda *_, **__: "")
    assert owed.settle(unlisted.record, tools) is None
    monkeypatch.setattr(owed, "FORGOTTEN", -1.0)
    assert owed.settle(unlisted.record, tools) is False
    monkeypatch.setattr(type(tools), "find", lambda *_, **__: None)
    assert owed.settle(unlisted.record, tools) is None  # nothing is known
    monkeypatch.setenv("SCO_PROFILE", "other")
    monkeypatch.setattr(type(tools), "find", lambda *_, **__: "")
    assert owed.settle(unlisted.record, tools) is None


@pytest.mark.usefixtures("short_lived")
def test_a_record_that_was_closed_while_sensecore_was_away(world, make):
    world.control(queue=60)
    job = make(sync=False).makejob(["echo", "never"])
    job.start()
    world.control(down="502 bad gateway")
    manage.stop(job.id, force=True)
    assert job.status.ended and owes(job)
    (here,) = manage.reap()  # srun, which goes on here until SenseCore lets go of the job
    assert (here.reason, here.left) == ("processes of an ended job", []) and owes(job)
    world.control(down="")
    (found,) = manage.reap()
    assert (found.id, found.reason) == (job.id, "was still held by its scheduler") and not owes(job)
    assert manage.reap() == []
