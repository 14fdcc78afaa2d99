"""How a job gets to Ray: once, whole, and refused in words; held against a simulated head."""

from __future__ import annotations

import json
import re
import shlex
import time
from pathlib import Path
from typing import Any

import pytest

from lazyllm.errors import InputError, LauncherError
from lazyllm.jobs.command import Command, Step
from lazyllm.jobs.job import Job
from lazyllm.jobs.status import Status
from lazyllm_launch_ray import submit as submitting
from lazyllm_launch_ray.launcher import RayLauncher


def started(launcher: RayLauncher, cmd: Any = ("true",)) -> Job:
    job = launcher.makejob(cmd, name="my job")
    job.quiet = True
    job.start()
    return job


def test_what_ray_gets(double: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAZYLLM_API_KEY", "hidden-1")
    command = Command(Step(("echo", "a 'b'")), env={"X": "1"}, secrets={"TOKEN": "hidden-2"})
    job = started(RayLauncher(double.url, 2, 4, "1GB", {"a100": 1}, sync=False), command)
    (body,) = double.bodies
    assert body["submission_id"] == job.id == job.jobid
    words = shlex.split(body["entrypoint"])
    assert words[0] == "exec" and words[2:4] == ["-I", "-S"] and words[-1] == str(job.record.folder)
    assert [Path(word).name for word in words[4:6]] == ["node.py", "runner.py"] and len(words) == 7
    assert body["metadata"] == {"job_name": "my job", "lazyllm_folder": str(job.record.folder)}
    own = {"LAZYLLM_JOB_ID": job.id, "LAZYLLM_JOB_DETACHED": job.id}
    assert body["runtime_env"] == {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "15", **own}}
    assert (body["entrypoint_num_gpus"], body["entrypoint_num_cpus"], body["entrypoint_memory"]) == (2, 4, 10**9)
    assert body["entrypoint_resources"] == {"a100": 1}
    assert "hidden" not in json.dumps(body)
    assert "hidden" not in (job.record.folder / "job.json").read_text() + (job.record.folder / "ray.json").read_text()


def test_the_submission_that_is_shown_is_the_one_that_is_made(double: Any) -> None:
    launcher = RayLauncher(double.url, 2, sync=False)
    job = launcher.makejob(["echo", "it's"])
    line, _, body = job.submission().partition("\n")
    assert line == f"POST {double.url}/api/jobs/" and not double.bodies
    job.start()
    assert json.loads(re.sub(r"\bJOB\b", str(job.id), body)) == double.bodies[0]
    away = RayLauncher("http://127.0.0.1:9", 2).makejob(["true"]).submission()
    assert json.loads(away.partition("\n")[2])["entrypoint_num_gpus"] == 2


@pytest.mark.parametrize("lost", [1, 2])
def test_an_answer_that_was_lost_makes_no_second_job(double: Any, lost: int) -> None:
    double.lost = lost
    job = started(RayLauncher(double.url, sync=False))
    assert list(double.jobs) == [job.id] and job.status is Status.InQueue
    assert len(double.bodies) == lost + 1


def test_the_id_of_somebody_elses_job_is_not_taken_over(double: Any) -> None:
    launcher = RayLauncher(double.url, sync=False)
    job = launcher.makejob(["true"])
    asked = submitting.describe("n", "a1234567", "/x", ["python", "/x"], {}, 5, {})
    double.row("a1234567", "RUNNING", entrypoint="exec rm")
    with pytest.raises(LauncherError, match="another job 'a1234567' already"):
        submitting.submit(launcher._api(), asked)
    assert job.record is None


def test_a_head_whose_agent_is_not_up_yet_is_waited_for(double: Any) -> None:
    busy = (500, "No available agent to submit job, please try again later.")
    good = (200, json.dumps({"submission_id": "a1234567"}))
    double.answers["POST /api/jobs/"] = [busy, busy, good]
    submitting.submit(RayLauncher(double.url)._api(), submitting.describe("n", "a1234567", "/x", ["p"], {}, 5, {}))
    assert double.requests["POST /api/jobs/"] == 3


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((400, "Traceback:\nTypeError: no number"), "refused the job (status 400): TypeError"),
        ((500, "Traceback:\nKeyError: 'x'"), "refused the job (status 500): KeyError: 'x'"),
        ((404, "<html>404</html>"), "is no Ray dashboard: it takes no jobs"),
        ((200, "<html>Sign in</html>"), "is no Ray dashboard: it takes no jobs"),
        ((200, "{}"), "is no Ray dashboard: it takes no jobs"),
        ((401, ""), "What answers at http://127.0.0.1"),
        ((401, ""), "wants a token (status 401)"),
        ((403, ""), "refuses the token that it was sent, or this user (status 403)"),
    ],
)  # fmt: skip
def test_a_refusal_is_told_in_words(double: Any, answer: Any, words: str) -> None:
    double.answers["POST /api/jobs/"] = [answer]
    launcher = RayLauncher(double.url, sync=False)
    job = launcher.makejob(["true"])
    with pytest.raises(LauncherError) as error:
        job.start()
    assert words in str(error.value)
    assert job.status is Status.Failed and "not started" in job.details()["reason"]


def test_no_cluster_is_told_before_anything_is_written(lazyllm_home: Path) -> None:
    with pytest.raises(LauncherError) as error:
        RayLauncher("127.0.0.1:1").launch(["true"])
    assert "No Ray cluster answers at http://127.0.0.1:1" in str(error.value) and "ray start --head" in str(error.value)
    assert not (lazyllm_home / "jobs").exists()


def test_a_token_is_asked_for_and_sent(double: Any, lazyllm_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    double.token = "s3cret"
    with pytest.raises(LauncherError, match="wants a token") as error:
        RayLauncher(double.url).launch(["true"])
    assert "RAY_AUTH_TOKEN_PATH" in str(error.value)
    monkeypatch.setenv("RAY_JOB_HEADERS", '{"Authorization": "Bearer 0utdated"}')
    with pytest.raises(LauncherError, match="refuses the token") as error:
        RayLauncher(double.url).launch(["true"])
    assert "0utdated" not in str(error.value) and not (lazyllm_home / "jobs").exists()
    monkeypatch.setenv("RAY_JOB_HEADERS", '{"Authorization": "Bearer s3cret"}')
    job = started(RayLauncher(double.url, sync=False))
    assert job.status is Status.InQueue
    assert not any("s3cret" in path.read_text() for path in job.record.folder.iterdir() if path.is_file())


def test_python_objects_are_refused(double: Any) -> None:
    with pytest.raises(InputError, match="module:function"):
        RayLauncher(double.url).launch(print)


def test_a_path_that_ray_cannot_be_told_is_refused() -> None:
    with pytest.raises(LauncherError, match="no path that is not UTF-8"):
        submitting.describe("n", "a1", "/x\udcff", ["python", "/x\udcff"], {}, 5, {})


def test_ray_is_given_the_time_that_a_job_may_take_to_end() -> None:
    asked = submitting.describe("n", "a1", "/x", ["p"], {}, 32.5, {})
    assert asked["runtime_env"]["env_vars"] == {"RAY_JOB_STOP_WAIT_TIME_S": "43"}


def test_display_mode_asks_nobody(double: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAZYLLM_MODE", "display")
    begun = time.monotonic()
    RayLauncher(double.url).launch(["true"])
    assert double.requests.total() == 0 and time.monotonic() - begun < 1
