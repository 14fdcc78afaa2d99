"""What a launcher says of jobs that wait, and what its scheduler holds of those that were closed without it."""

import json
import logging

import pytest

from lazyllm.cli import run
from lazyllm.errors import JobTimeoutError, LauncherError
from lazyllm.jobs import manage, watch
from lazyllm.jobs.launcher import LazyLLMLaunchersBase
from lazyllm.jobs.status import Status


class RacklikeLauncher(LazyLLMLaunchersBase):
    """A queue that the test fills: {id: why the job waits}, and whether it answers."""

    grace = 0.1
    held = {}
    away = False

    def submit(self, job):
        self.held[f"r{job.id}"] = "no rack is free"
        return f"r{job.id}"

    def query(self, job):
        job.waiting_for = self.held.get(job.jobid, "")
        return Status.InQueue if job.waiting_for else None

    def cancel(self, job, force=False):
        if self.away:
            raise LauncherError("The rack does not answer.")
        self.held.pop(job.jobid, None)
        job.demand_record().finish(Status.Cancelled, "stopped")

    def leftovers(self, jobs):
        if self.away:
            raise OSError("no answer")
        return {job.id: self.held.pop(job.jobid, None) is not None for job in jobs}


@pytest.fixture
def job(monkeypatch):
    monkeypatch.setattr(watch, "SETTLED", 0.0)
    monkeypatch.setattr(RacklikeLauncher, "away", False)
    RacklikeLauncher.held.clear()
    made = RacklikeLauncher(sync=False).makejob(["true"])
    made.start()
    yield made
    RacklikeLauncher.away = False
    made.stop()


def test_why_a_job_waits_is_shown(job, caplog):
    logging.getLogger("lazyllm").addHandler(caplog.handler)
    (found,) = manage.ps()
    assert (found.state, found.reason) == (Status.InQueue, "no rack is free")
    assert "waits in its queue" not in caplog.text  # nobody waits for it
    for why in ("no rack is free", "no rack is free", "the rack is swept"):
        RacklikeLauncher.held[job.jobid] = why
        with pytest.raises(JobTimeoutError):
            job.wait(0.5)
    logging.getLogger("lazyllm").removeHandler(caplog.handler)
    told = [line for line in caplog.messages if "waits in its queue" in line]
    assert told == [
        f"Job {job.id} (true) waits in its queue: {why}" for why in ("no rack is free", "the rack is swept")
    ]
    job.stop()
    assert manage.ps()[0].reason == "stopped" and job.awaited == 0


def test_what_was_closed_without_its_scheduler_is_cancelled_there_later(job, capsys):
    RacklikeLauncher.away = True
    assert manage.stop(job.id, force=True).state is Status.Cancelled
    assert manage.reap() == [] and RacklikeLauncher.held and job.record.status()["unconfirmed"]
    RacklikeLauncher.away = False
    assert run(["reap"]) == 0
    assert capsys.readouterr().out == f"{job.id}  true: was still held by its scheduler\n"
    assert not RacklikeLauncher.held and "unconfirmed" not in job.record.status()
    assert manage.reap() == [] and manage.info(job.record).state is Status.Cancelled


def test_listing_jobs_cancels_it_too(job):
    RacklikeLauncher.away = True
    manage.stop(job.id, force=True)
    RacklikeLauncher.away = False
    assert [found.id for found in manage.ps()] == [job.id] and not RacklikeLauncher.held


def test_a_job_whose_submission_failed_may_be_there_even_so(monkeypatch):
    def submit(self, job):
        job.record.submitted("r1")
        self.held["r1"] = "x"
        raise LauncherError("no answer")

    monkeypatch.setattr(RacklikeLauncher, "submit", submit)
    RacklikeLauncher.held.clear()
    made = RacklikeLauncher().makejob(["true"])
    with pytest.raises(LauncherError):
        made.start()
    assert json.loads((made.record.folder / "status.json").read_text())["unconfirmed"] is True
    manage.ps()
    assert not RacklikeLauncher.held
