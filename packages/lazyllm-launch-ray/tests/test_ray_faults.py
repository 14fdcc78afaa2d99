"""Parts of a real Ray cluster that die or hang while jobs run. The clusters are the tests' own."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lazyllm.errors import JobError, LauncherError
from lazyllm.jobs import runner
from lazyllm.jobs.job import Job
from lazyllm.jobs.status import Status
from lazyllm_launch_ray import judge as judging
from lazyllm_launch_ray.launcher import RayLauncher
from lazyllm_launch_ray.submit import stop

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray")]
Until = Callable[..., None]
START = 60.0
TIDY = ["python3", "-c", "import signal, sys, time; signal.signal(15, lambda *_: (print('asked'), sys.exit())); "
        "print('up', flush=True); time.sleep(4321)"]  # fmt: skip
BRANCHES = ["bash", "-c", "setsid sleep 4321 & echo up; echo $$; wait"]


def start(launcher: RayLauncher, cmd: Any, until: Until) -> Job:
    job = launcher.makejob(cmd)
    job.quiet = True
    job.start()
    until(lambda: "up" in job.output(), START)
    return job


def parent(pid: int) -> int:
    return runner.processes()[pid][0]


def dashboard(cluster: Any) -> list[int]:
    """Return the PIDs of what answers over HTTP."""
    found = []
    for pid in cluster.processes():
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"dashboard/dashboard.py" in line or b"ray-dashboard-" in line:
            found.append(pid)
    return found


@pytest.mark.parametrize("generations", [1, 2], ids=["what Ray started", "Ray's process for the job"])
def test_rays_process_for_the_job_is_killed(cluster: Any, until: Until, generations: int) -> None:
    job = start(RayLauncher(cluster.url, sync=False), TIDY, until)
    pid = job.details()["runner_pid"]
    for _ in range(generations):
        pid = parent(pid)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(JobError, match="Ray's own process for it was killed: its head or its node went down"):
        job.wait(30)
    assert job.status is Status.Failed and job.output() == "up\nasked\n"  # it ended in order
    until(lambda: not runner.family(job.id))


def test_the_head_is_killed_with_all_of_rays_processes(lazyllm_home: Path, until: Until, one_cluster: Any) -> None:
    mine = type(one_cluster)(one_cluster.argv[0])
    try:
        mine.up()
        job = start(RayLauncher(mine.url, sync=False), TIDY, until)
        for pid, (_, session, _) in runner.processes().items():
            if session == mine.session:
                os.kill(pid, signal.SIGKILL)
        with pytest.raises(JobError, match="its head or its node went down"):
            job.wait(30)
        assert job.output() == "up\nasked\n"
    finally:
        mine.down()


def test_a_job_that_ray_stops_says_so(cluster: Any, until: Until) -> None:
    job = start(RayLauncher(cluster.url, sync=False), TIDY, until)
    stop(RayLauncher(cluster.url)._api(), job.id)
    with pytest.raises(JobError, match="stopped in Ray"):
        job.wait(30)
    assert job.status is Status.Cancelled and job.output() == "up\nasked\n"


def test_the_runner_is_killed(cluster: Any, until: Until) -> None:
    job = start(RayLauncher(cluster.url, sync=False), BRANCHES, until)
    os.kill(job.details()["runner_pid"], signal.SIGKILL)
    with pytest.raises(JobError, match="runner died"):
        job.wait(30)
    assert not runner.family(job.id)


def test_a_dashboard_that_hangs_tells_nothing_and_jobs_end_even_so(cluster: Any, until: Until, tmp_path: Path) -> None:
    launcher = RayLauncher(cluster.url, sync=False)
    job = start(launcher, ["bash", "-c", f"echo up; until [ -e {tmp_path}/go ]; do sleep 0.05; done"], until)
    stopped = dashboard(cluster)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        end = time.monotonic() + 4
        while time.monotonic() < end:
            assert job.status is Status.Running
            time.sleep(0.1)
        (tmp_path / "go").touch()
        begun = time.monotonic()
        assert job.wait(20) is Status.Done and time.monotonic() - begun < 1
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    until(lambda: launcher._api().ask("GET", "/api/version")[0] == 200, 30)


def test_a_token_is_asked_for(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong" * 8)
    with pytest.raises(LauncherError, match="refuses the token"):
        RayLauncher(cluster.url).launch(["true"])
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(LauncherError, match="wants a token"):
        RayLauncher(cluster.url).launch(["true"])


def test_a_cluster_that_is_killed_and_begins_anew(cluster: Any, until: Until, monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = RayLauncher(cluster.url, sync=False)
    job, far = (start(launcher, BRANCHES, until) for _ in "ab")
    cluster.kill()
    for one in (job, far):
        with pytest.raises(JobError, match="runner died|its head or its node went down"):
            one.wait(30)
        assert not runner.family(one.id)
    # as a job on another machine would look: nobody here can say that its runner died
    state = {"state": "Running", "node": "elsewhere", "phase": "running"}
    runner.write_json(str(far.record.folder / "status.json"), state)
    (far.record.folder / "stopping").unlink(missing_ok=True)
    (far.record.folder / "alive").unlink()  # which it would give no longer
    far = Job.adopt(far.record, launcher)
    assert far.status is Status.Running
    with pytest.raises(LauncherError, match="No Ray cluster answers"):
        launcher.launch(["true"])
    cluster.up()
    time.sleep(0.5)
    assert far.status is Status.Running, far.details()
    monkeypatch.setattr(judging, "LOST", 0.5)
    until(lambda: far.status is Status.Failed, 30)
    assert far.details()["reason"].startswith("Ray no longer knows it, and its runner left no last word")
    assert start(launcher, ["echo", "up"], until).wait(30) is Status.Done
