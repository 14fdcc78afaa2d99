"""How often Ray is asked: the number of jobs that are watched does not count."""

from __future__ import annotations

import time
from typing import Any

import pytest

from lazyllm.jobs.job import Job
from lazyllm_launch_ray.launcher import RayLauncher
from lazyllm_launch_ray.poller import RayPoller, poller


def watched(double: Any, count: int, seconds: float) -> tuple[int, float]:
    """Return how many requests the head got while `count` jobs were watched for `seconds`, and the seconds it took."""
    launcher = RayLauncher(double.url, sync=False)
    jobs = []
    for _ in range(count):
        job = launcher.makejob(["true"])
        job.quiet = True
        job.start()
        double.row(job.id, "RUNNING")
        jobs.append(job)
    time.sleep(0.3)
    before, begun = double.requests.total(), time.monotonic()
    time.sleep(seconds)
    found, elapsed = double.requests.total() - before, time.monotonic() - begun
    for job in jobs:
        double.end(job.id, "STOPPED")
    for job in jobs:
        job._watch().join(20)
        assert job.status.ended
    return found, elapsed


@pytest.mark.parametrize("count", [1, 10, 100])
def test_queries_do_not_grow_with_jobs(double: Any, count: int) -> None:
    found, elapsed = watched(double, count, 2.0)
    assert 1 <= found <= elapsed / RayPoller.quick + 1


def test_listing_many_jobs_is_one_query(double: Any) -> None:
    launcher = RayLauncher(double.url, sync=False)
    ids = [f"a{n:07d}" for n in range(100)]
    for name in ids:
        double.row(name, "RUNNING")
    asked = poller(launcher._api().url)
    assert {seen.word for name in ids if (seen := asked.seen(name))} == {"RUNNING"}
    assert double.requests["GET /api/jobs/"] == 1


def test_a_slow_head_is_asked_less_often(double: Any) -> None:
    asked = RayPoller(RayLauncher(double.url)._api())
    asked.cost = 2.0
    assert asked.pause(1.0) == 20.0


def test_nobody_is_asked_about_when_nobody_waits(double: Any) -> None:
    job: Job = RayLauncher(double.url, sync=False).makejob(["true"])
    job.quiet = True
    job.start()
    double.end(job.id, "STOPPED")
    job._watch().join(10)
    time.sleep(0.6)
    before = double.requests.total()
    time.sleep(1.5)
    assert double.requests.total() == before
