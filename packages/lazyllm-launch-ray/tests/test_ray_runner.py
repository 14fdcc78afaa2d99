"""Jobs from submission to their end, with the real runner; the head that starts it is a simulated one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lazyllm.errors import JobError
from lazyllm.jobs import runner
from lazyllm.jobs.job import Job
from lazyllm.jobs.status import Status
from lazyllm_launch_ray import launcher as launching
from lazyllm_launch_ray.launcher import RayLauncher

Until = Callable[..., None]
TELL = """
import os, signal, sys, time
def heard(*_):
    print("asked", flush=True)
    time.sleep(0.3)
    print("tidy", flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, heard)
print("up", flush=True)
while True: time.sleep(60)
"""


@pytest.fixture
def head(double: Any) -> Any:
    double.runs = True
    return double


def begun(launcher: RayLauncher, cmd: Any, until: Until, word: str = "up") -> Job:
    job = launcher.makejob(cmd)
    job.quiet = True
    job.start()
    until(lambda: word in job.output())
    return job


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_folder_and_environment_are_the_submitters(head: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAZYLLM_DATA_PATH", "/data")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("LAZYLLM_API_KEY", "hidden")
    monkeypatch.setenv("PATH", f"/mine:{os.environ['PATH']}")
    code = "import json, os; json.dump([os.getcwd(), dict(os.environ)], open('got', 'w'))"
    RayLauncher(head.url).launch([sys.executable, "-c", code])
    folder, found = json.loads((tmp_path / "got").read_text())
    assert folder == str(tmp_path)
    assert found["PATH"].startswith("/mine:") and found["LAZYLLM_DATA_PATH"] == "/data"
    assert found["PYTHONPATH"] == "" and found["RAY_ADDRESS"] == "10.0.0.1:6379"
    assert not any("hidden" in path.read_text() for path in tmp_path.rglob("job.json"))


def test_stop_tells_the_runner_alone(head: Any, until: Until) -> None:
    job = begun(RayLauncher(head.url, sync=False), [sys.executable, "-c", TELL], until)
    job.stop()
    assert job.output().split() == ["up", "asked", "tidy"]
    assert (job.status, job.details()["reason"], head.stopped) == (Status.Cancelled, "stopped", [])


def test_a_runner_on_another_machine_is_told_through_the_record(
    head: Any, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "signal_runner", lambda *_: False)
    job = begun(RayLauncher(head.url, sync=False), [sys.executable, "-c", TELL], until)
    head.server.shutdown()  # not even the head is needed
    head.server.server_close()
    Job.adopt(job.record).stop()
    assert job.output().split() == ["up", "asked", "tidy"]
    assert (job.status, head.stopped) == (Status.Cancelled, [])
    head.server.shutdown = head.server.server_close = lambda: None


def test_by_force_ray_ends_what_the_runner_does_not(head: Any, until: Until, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("lazyllm_launch_ray.launcher", "lazyllm.jobs.job"):
        monkeypatch.setattr(sys.modules[module], "signal_runner", lambda *_, **__: False)
    job = begun(RayLauncher(head.url, sync=False), [sys.executable, "-c", TELL], until)
    job.stop(force=True)
    assert job.status is Status.Cancelled and head.stopped[:1] == [job.id]


def test_a_job_that_was_given_up_before_it_began_runs_nothing(head: Any, tmp_path: Path) -> None:
    head.runs = False
    job = RayLauncher(head.url, sync=False).makejob(["touch", "made"])
    job.quiet = True
    job.start()
    job.record.finish(Status.Failed, "waited too long")
    done = subprocess.run(head.bodies[0]["entrypoint"], shell=True, timeout=20)
    assert done.returncode == 1 and not (tmp_path / "made").exists()
    assert job.record.status()["reason"] == "waited too long"


def test_the_runner_dies_and_nothing_is_left(head: Any, until: Until) -> None:
    job = begun(RayLauncher(head.url, sync=False), ["bash", "-c", "setsid sleep 321 & echo up; wait"], until)
    os.kill(job.record.status()["runner_pid"], signal.SIGKILL)
    with pytest.raises(JobError, match="runner died"):
        job.wait(20)
    assert not runner.family(job.id)


def test_a_rank_of_its_submitter_is_none_of_its_own(head: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LAZYLLM_JOB_RANKS", "1")
    assert RayLauncher(head.url).launch("os:getpid") > 1


def test_a_head_that_hangs_does_not_delay_a_look_at_a_job_on_this_machine(
    head: Any, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = begun(RayLauncher(head.url, sync=False), [sys.executable, "-c", TELL], until)
    real, main = launching.poller, threading.main_thread()  # the job's own watcher goes on
    with monkeypatch.context() as patch:
        look = lambda url: pytest.fail("asked") if threading.current_thread() is main else real(url)  # noqa: E731
        patch.setattr(launching, "poller", look)
        assert RayLauncher(head.url).query(Job.adopt(job.record)) is Status.Running
    job.stop()
