"""Jobs on a real Ray cluster of one node with eight pretended GPUs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lazyllm.errors import InputError, JobError
from lazyllm.jobs.job import Job
from lazyllm.jobs.status import Status
from lazyllm_launch_ray import launcher as launching
from lazyllm_launch_ray import submit as submitting
from lazyllm_launch_ray.launcher import RayLauncher
from lazyllm_launch_ray.poller import poller

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray")]
Until = Callable[..., None]
START = 60.0
"""Seconds for a job to begin; about four on an idle machine."""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def start(launcher: RayLauncher, cmd: Any) -> Job:
    job = launcher.makejob(cmd)
    job.quiet = True
    job.start()
    return job


def gpus(job: Job) -> set[str]:
    return set(job.output().split()[0].split(","))


def test_gpus_are_shared_out_and_waited_for(cluster: Any, until: Until) -> None:
    code = ["bash", "-c", "echo $CUDA_VISIBLE_DEVICES; exec sleep 100"]
    first, second = (start(RayLauncher(cluster.url, ngpus=4, sync=False), code) for _ in "ab")
    until(lambda: first.output() and second.output(), START)
    assert len(gpus(first)) == len(gpus(second)) == 4 and not gpus(first) & gpus(second)
    third = start(RayLauncher(cluster.url, ngpus=8, sync=False), code)
    time.sleep(3)
    assert third.status is Status.InQueue
    first.stop()
    second.stop()
    until(lambda: third.output(), START)
    assert len(gpus(third)) == 8 and third.status is Status.Running
    third.stop()


def test_what_waits_is_stopped_at_once_and_never_runs(cluster: Any, until: Until) -> None:
    busy = start(RayLauncher(cluster.url, ngpus=8, sync=False), ["sleep", "100"])
    until(lambda: busy.status is Status.Running, START)
    waits = start(RayLauncher(cluster.url, ngpus=8, sync=False), ["touch", "made"])
    late = start(RayLauncher(cluster.url, ngpus=8, queue_timeout=1, sync=False), ["touch", "made"])
    with pytest.raises(JobError, match="waited 1 s for resources"):
        late.wait(10)
    begun = time.monotonic()
    waits.stop()
    assert waits.status is Status.Cancelled and time.monotonic() - begun < 3
    busy.stop()
    asked = poller(cluster.url)
    for job in (waits, late):  # Ray starts even now what it had queued
        until(lambda job=job: asked.seen(job.id).word not in ("PENDING", "RUNNING"), START)
    assert not Path("made").exists()
    assert (waits.record.state, late.record.state) == (Status.Cancelled, Status.Failed)


def test_too_much_is_refused_before_submission(cluster: Any, lazyllm_home: Path) -> None:
    with pytest.raises(InputError, match="ngpus=9 is more than the 8 that a node of this Ray cluster has"):
        RayLauncher(cluster.url, ngpus=9).launch(["true"])
    with pytest.raises(InputError, match="Did you mean 'blue'"):
        RayLauncher(cluster.url, resources={"blu": 1}).launch(["true"])
    assert not (lazyllm_home / "jobs").exists()


def test_a_second_submission_is_the_first(cluster: Any) -> None:
    job = RayLauncher(cluster.url, ncpus=1, resources={"blue": 1}, sync=False).makejob(["bash", "-c", "echo once >> n"])
    job.quiet = True
    asked: list[dict[str, Any]] = []

    def twice(api: Any, body: dict[str, Any]) -> None:
        submitting.submit(api, body)
        submitting.submit(api, body)
        asked.append(body)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launching, "submit", twice)
        job.start()
    assert job.wait(START) is Status.Done and Path("n").read_text() == "once\n" and len(asked) == 1


def test_what_of_rays_environment_reaches_a_job(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAZYLLM_DATA_PATH", "/data")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    code = "import json, os; json.dump([os.getcwd(), dict(os.environ)], open('got', 'w'))"
    RayLauncher(cluster.url, ncpus=3).launch([sys.executable, "-c", code])
    folder, found = json.loads(Path("got").read_text())
    assert folder == str(Path.cwd()) and found["LAZYLLM_DATA_PATH"] == "/data"
    assert found["PYTHONPATH"] == found["PYTHONBREAKPOINT"] == "" and found["PYTHONUNBUFFERED"] == "1"
    assert found["OMP_NUM_THREADS"] == "3" and ":" in found["RAY_ADDRESS"]


def test_a_runner_elsewhere_is_told_through_the_record(
    cluster: Any, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "signal_runner", lambda *_: False)
    code = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (print('asked', flush=True), sys.exit()))\n"
    )
    job = start(
        RayLauncher(cluster.url, sync=False), [sys.executable, "-c", code + "print('up', flush=True); time.sleep(99)"]
    )
    until(lambda: "up" in job.output(), START)
    begun = time.monotonic()
    job.stop()
    assert time.monotonic() - begun < 4 and job.output().split() == ["up", "asked"]
    assert (job.status, job.details()["reason"]) == (Status.Cancelled, "stopped")
