"""What Ray's word means for a job, held against a simulated head."""

from __future__ import annotations

import json
import logging
import os
import time
from typing import Any

import pytest

from lazyllm.errors import JobError
from lazyllm.jobs import manage, runner
from lazyllm.jobs.job import Job
from lazyllm.jobs.polling import said_since
from lazyllm.jobs.status import Status
from lazyllm_launch_ray import judge as judging
from lazyllm_launch_ray import note
from lazyllm_launch_ray.launcher import RayLauncher
from lazyllm_launch_ray.poller import RayPoller, poller
from lazyllm_launch_ray.states import GONE, Seen


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RayPoller, "quick", 0.05)


@pytest.fixture
def job(double: Any) -> Job:
    """A job that was submitted, of which only Ray's word is known."""
    made = RayLauncher(double.url, sync=False).makejob(["true"])
    made.quiet = True
    made.start()
    return made


def settled(job: Job) -> tuple[Status, str]:
    """Return state and reason of a job after Ray was asked anew."""
    asked, end = poller(job.launcher._api(job.record).url), time.monotonic() + 10
    enough = asked.queries + 2  # the one that is under way may have begun too early
    while asked.queries < enough and not job.status.ended and time.monotonic() < end:
        time.sleep(0.02)
    return job.status, str(job.details().get("reason"))


@pytest.mark.parametrize(
    ("word", "state"), [("PENDING", Status.InQueue), ("RUNNING", Status.Running), ("STOPPED", Status.Cancelled)]
)
def test_words_of_rays(job: Job, double: Any, word: str, state: Status) -> None:
    double.end(job.id, word)
    assert settled(job)[0] is state


def test_a_job_that_ray_says_succeeded_is_done_even_if_its_last_word_was_lost(job: Job, double: Any) -> None:
    double.end(job.id, "SUCCEEDED", driver_exit_code=0)
    assert settled(job)[0] is Status.Done


def test_an_unknown_word_is_not_failed_and_is_said_once(
    job: Job, double: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "_strange", set())
    double.row(job.id, "HIBERNATING")
    with caplog.at_level(logging.WARNING, "lazyllm"):
        for _ in range(3):
            assert not settled(job)[0].ended
    assert sum("HIBERNATING" in line for line in caplog.messages) == 1


@pytest.mark.parametrize(
    ("kind", "message", "code", "words"),
    [
        ("JOB_SUPERVISOR_ACTOR_DIED", "Job supervisor actor died: The node died.", None, "its node or Ray's process"),
        ("JOB_SUPERVISOR_ACTOR_START_TIMEOUT", "failed to start within 900 s", None, "RAY_JOB_START_TIMEOUT_SECONDS"),
        ("JOB_ENTRYPOINT_COMMAND_ERROR", "failed with exit code 2, logs:\ncan't open file", 2, "can't open file"),
        ("NEW_KIND", "boom", None, "boom"),
        (None, None, None, "did not start on the node (Ray: FAILED); the node"),
        ("NEW_KIND", "Connection lost: Connection lost.", None, "(Ray: FAILED, Connection lost: Connection lost); "),
        ("JOB_ENTRYPOINT_COMMAND_ERROR", None, 3, "(Ray: FAILED, exit code 3); "),
        ("JOB_SUPERVISOR_ACTOR_DIED", None, None, "process for it died"),
    ],
)  # fmt: skip
def test_a_failure_of_rays_says_why(
    job: Job, double: Any, kind: str | None, message: str | None, code: int | None, words: str
) -> None:
    double.end(job.id, "FAILED", error_type=kind, message=message, driver_exit_code=code)
    state, reason = settled(job)
    assert state is Status.Failed and words in reason and "no reason" not in reason
    with pytest.raises(JobError, match="Job 'true'"):
        job.wait()


def test_a_runner_elsewhere_that_was_killed_is_a_failure(job: Job, double: Any) -> None:
    runner.write_json(str(job.record.folder / "status.json"), {"state": "Running", "node": "elsewhere"})
    double.end(job.id, "FAILED", error_type="JOB_ENTRYPOINT_COMMAND_ERROR", driver_exit_code=-9, message="x")
    assert settled(job) == (Status.Failed, "its runner died (Ray: FAILED, exit code -9)")


def test_the_last_word_may_come_late_through_the_file_system(job: Job, double: Any) -> None:
    runner.write_json(str(job.record.folder / "status.json"), {"state": "Running", "node": "elsewhere"})
    double.row(job.id, "FAILED", end_time=int((time.time() - 10) * 1000), driver_exit_code=3)
    assert settled(job)[0] is Status.Running
    runner.write_json(str(job.record.folder / "status.json"), {"state": "Failed", "reason": "its own words"})
    assert settled(job) == (Status.Failed, "its own words")


def test_a_job_that_ray_does_not_know_is_lost_only_after_a_while(
    job: Job, double: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    del double.jobs[job.id]
    assert settled(job)[0] is Status.InQueue
    double.row(job.id, "PENDING")
    assert settled(job)[0] is Status.InQueue
    known = said_since(job.record, "PENDING")
    del double.jobs[job.id]
    assert settled(job)[0] is Status.InQueue and said_since(job.record, GONE) > known
    monkeypatch.setattr(judging, "LOST", 0.01)
    state, reason = settled(job)
    assert state is Status.Failed and reason.startswith("Ray no longer knows it, and it never ran")


def test_the_status_never_goes_back(job: Job, double: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that Ray starts, then does not know, cannot tell of, names strangely, and stops; its runner is silent."""
    double.row(job.id, "HIBERNATING")
    assert settled(job)[0] is Status.InQueue
    double.row(job.id, "RUNNING")
    assert settled(job)[0] is Status.Running
    row = double.jobs.pop(job.id)
    assert settled(job)[0] is Status.Running
    double.jobs[job.id] = {**row, "status": "HIBERNATING"}
    assert settled(job)[0] is Status.Running
    double.row(job.id, "FAILED", end_time=int(time.time() * 1000))
    assert settled(job)[0] is Status.Running
    double.answers["GET /api/jobs/"] = [None]
    monkeypatch.setattr("lazyllm.jobs.polling.Poller.pollers", {})  # as another process has it
    assert Job.adopt(job.record).status is Status.Running
    monkeypatch.undo()


def test_a_list_that_is_older_than_the_job_says_nothing_of_it(job: Job, double: Any) -> None:
    older = Seen(GONE, job.record.data["created"] - 1)
    assert judging.judge(job.record, job.launcher._api(), older) is None
    assert not (job.record.folder / "said.json").exists()


def test_a_cluster_that_was_there_before_is_another_one(job: Job, double: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "LOST", 0.0)
    assert note.read(job.record)["session"] == "session_1"
    row = double.jobs.pop(job.id)
    double.answers["GET /api/version"] = [(200, '{"session_name": "session_0"}')]
    assert [settled(job)[0] for _ in "ab"] == [Status.InQueue] * 2 and not job.record.stopping
    double.jobs[job.id] = row
    assert settled(job)[0] is Status.InQueue
    del double.jobs[job.id], double.answers["GET /api/version"]
    assert settled(job) == (
        Status.Failed, "Ray no longer knows it, and it never ran; perhaps the cluster was restarted"
    )  # fmt: skip


def test_a_job_whose_node_gives_signs_of_life_is_not_lost(
    job: Job, double: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "LOST", 0.0)
    double.jobs.clear()
    runner.write_json(str(job.record.folder / "status.json"), {"state": "Running", "node": "elsewhere"})
    alive = job.record.folder / "alive"
    alive.touch()
    assert settled(job)[0] is Status.Running and not job.record.stopping
    os.utime(alive, (time.time() - judging.SILENT - 1,) * 2)
    assert settled(job)[0] is Status.Failed


def test_what_was_closed_while_the_head_was_away_is_cancelled_later(job: Job, double: Any) -> None:
    double.answers["GET /api/jobs/"] = double.answers[f"POST /api/jobs/{job.id}/stop"] = [(503, "busy")]
    manage.stop(job.id, force=True)
    assert job.status.ended and manage.reap() == [] and job.record.status()["unconfirmed"]
    double.answers.clear()
    end = time.monotonic() + 10
    while not (found := manage.reap()) and time.monotonic() < end:
        time.sleep(0.1)
    assert [one.reason for one in found] == ["was still held by its scheduler"]
    assert double.stopped == [job.id] and "unconfirmed" not in job.record.status()


def test_why_a_job_waits_is_told(job: Job, double: Any) -> None:
    double.row(job.id, "PENDING", message="Job has not started yet.\nIt may be waiting for resources.")
    assert settled(job)[0] is Status.InQueue and job.waiting_for == "It may be waiting for resources"
    assert [found.reason for found in manage.ps()] == ["It may be waiting for resources"]
    told = {"state": "Running", "node": os.uname().nodename, "runner_pid": os.getpid()}
    told["runner_created"] = runner.token(os.getpid())
    runner.write_json(str(job.record.folder / "status.json"), told)
    assert job.status is Status.Running and job.waiting_for == ""


def test_what_the_record_says_goes_before_what_ray_does_not_know(
    job: Job, double: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "LOST", 0.0)
    del double.jobs[job.id]
    runner.write_json(str(job.record.folder / "status.json"), {"state": "Done", "exit_code": 0})
    assert settled(job)[0] is Status.Done


@pytest.mark.parametrize(
    "answer",
    [
        (200, "<html>Sign in</html>"), (200, "[[["), (200, '{"jobs": []}'), (200, "null"), (200, ""),
        (302, ""), (401, "who?"), (403, "no"), (404, "404: Not Found"), (500, "Traceback\nBoom."), (503, "busy"), None,
    ],
)  # fmt: skip
def test_an_answer_that_tells_nothing_changes_nothing(
    job: Job, double: Any, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    double.answers["GET /api/jobs/"] = [answer]
    with caplog.at_level(logging.WARNING, "lazyllm"):
        for _ in range(3):
            assert settled(job)[0] is Status.InQueue
    mine = [line for line in caplog.messages if double.url in line]  # other tests' pollers may still be asking
    assert sum("if it died, they end" in line for line in mine) == 1
    del double.answers["GET /api/jobs/"]
    double.end(job.id, "STOPPED")
    assert settled(job) == (Status.Cancelled, "stopped in Ray")


def test_rows_that_are_no_jobs_are_passed_over(job: Job, double: Any) -> None:
    rows = [None, 3, "x", {}, {"submission_id": 5, "status": "RUNNING"}, {"type": "DRIVER", "submission_id": job.id}]
    rows += [{"submission_id": job.id, "status": "RUNNING", "end_time": "soon", "driver_exit_code": "x"}]
    double.answers["GET /api/jobs/"] = [(200, json.dumps(rows))]
    assert settled(job)[0] is Status.Running


def test_a_head_that_goes_away_is_no_failure(job: Job, double: Any) -> None:
    double.row(job.id, "RUNNING")
    assert settled(job)[0] is Status.Running
    double.server.shutdown()
    double.server.server_close()
    assert settled(job)[0] is Status.Running  # as it said last
    runner.write_json(str(job.record.folder / "status.json"), {"state": "Running", "node": "elsewhere"})
    assert settled(job)[0] is Status.Running
    double.close = lambda: None


def test_waiting_has_a_limit_if_one_is_wished(double: Any) -> None:
    job = RayLauncher(double.url, queue_timeout=0.8, sync=False).makejob(["true"])
    job.quiet = True
    job.start()
    assert job.status is Status.InQueue
    with pytest.raises(JobError, match=r"waited 0.8 s for resources, its queue_timeout"):
        job.wait(10)
    assert double.stopped == [job.id]


def test_the_limit_is_kept_by_whoever_adopts_the_job(double: Any) -> None:
    first = RayLauncher(double.url, queue_timeout=0.01, sync=False).makejob(["true"])
    first.quiet = True
    first.start()
    adopted = Job.adopt(first.record, RayLauncher())  # which by itself would ask another cluster
    assert settled(adopted)[0] is Status.Failed


def test_a_job_that_waits_is_stopped_at_once_and_starts_nothing(double: Any, job: Job) -> None:
    double.row(job.id, "PENDING")
    begun = time.monotonic()
    job.stop()
    assert time.monotonic() - begun < 2
    assert (job.status, job.details()["reason"]) == (Status.Cancelled, "stopped")
    assert double.stopped == [job.id]


def test_a_job_that_ray_does_not_know_is_stopped_soon(job: Job, double: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    del double.jobs[job.id]
    job.stop()
    assert (job.status, job.details()["reason"]) == (Status.Cancelled, "stopped")


def test_so_is_one_whose_runner_elsewhere_heeds_nothing(job: Job, double: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "HEEDED", 0.3)
    del double.jobs[job.id]
    runner.write_json(str(job.record.folder / "status.json"), {"state": "Running", "node": "elsewhere"})
    job.stop()
    assert (job.status, job.details()["reason"]) == (Status.Cancelled, "stopped")


def test_a_password_in_the_address_is_not_kept(double: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    url = double.url.replace("//", "//me:s3cret@")
    made = RayLauncher(url, sync=False).makejob(["true"])
    made.quiet = True
    made.start()
    assert note.read(made.record)["address"] == double.url
    assert "s3cret" not in "".join(path.read_text() for path in made.record.folder.glob("*.json"))
    assert made.launcher._api(made.record).url == url
    assert double.headers[-1]["Authorization"].startswith("Basic ")
    assert Job.adopt(made.record, RayLauncher()).launcher._api(made.record).url == double.url
