"""A live job outlives whatever is said by another cluster, or of another job; and its runner's signs of life."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from lazyllm.errors import LauncherError
from lazyllm.jobs import recording, runner
from lazyllm.jobs.command import Command, Step
from lazyllm.jobs.job import Job
from lazyllm.jobs.polling import Poller
from lazyllm.jobs.status import Status
from lazyllm.jobs.tools import Answer
from lazyllm_launch_psij import cancel as cancelling
from lazyllm_launch_psij import cluster, home, unsent
from lazyllm_launch_psij import judge as judging
from lazyllm_launch_psij.commands import run
from lazyllm_launch_psij.judge import judge
from lazyllm_launch_psij.launcher import NODE, PsijLauncher
from lazyllm_launch_psij.poller import Seen
from lazyllm_launch_psij.schedulers import SCHEDULERS


def made(*argv):
    command = Command((Step(argv or ("true",)),))
    return recording.create(command, name="tr é", launcher="psij", env={}, host="127.0.0.1", detached=True)


@pytest.fixture
def record(tmp_path, monkeypatch):
    """The record of a job that the cluster "a" has, as its number 7."""
    monkeypatch.setenv("LAZYLLM_HOME", str(tmp_path / "home"))
    record = made()
    note = {"executor": "slurm", "place": {"PATH": "/usr/bin"}, "cluster": "a"}
    runner.write_json(str(record.folder / unsent.NOTE), note)
    record.submitted("7")
    return record


@pytest.fixture
def answers(monkeypatch):
    """Have the cluster of this name answer."""
    return lambda who: monkeypatch.setattr(home, "identity", lambda *_, **__: who)


@pytest.fixture
def hasty(monkeypatch):
    for name in ("UNSURE", "LOST", "LAG", "SURE"):
        monkeypatch.setattr(judging, name, 0.0)
    monkeypatch.setattr(judging, "cancel", lambda *_: pytest.fail("another's job would be cancelled"))


def begun(record):
    runner.write_json(str(record.folder / "status.json"), {"state": "Running", "node": "elsewhere"})


@pytest.mark.parametrize("who", ["b", ""])
@pytest.mark.parametrize("word", [None, Status.Done, Status.Failed, Status.Cancelled, Status.InQueue])
@pytest.mark.parametrize("runs", [True, False])
def test_what_another_cluster_says_ends_nothing(record, answers, hasty, caplog, who, word, runs):
    answers(who)
    if runs:
        begun(record)
    for later in (0, 100, 200):
        state = judge(record, "slurm", "7", Seen(word, time.time() + later, "PartitionConfig"))
        assert state is (Status.Running if runs else Status.InQueue)
    assert not record.stopping
    if who and not (runs and word is Status.InQueue):
        assert [line.getMessage() for line in caplog.records] == [
            f"Slurm's job 7 (record {record.id}) was submitted to the cluster a, and another one answers here: b."
        ]
    answers("a")
    judging.cancel = lambda *_: None
    if not (runs and word is Status.InQueue):
        assert judge(record, "slurm", "7", Seen(word, time.time() + 300, "PartitionConfig")).ended


def test_a_job_that_gives_signs_of_life_is_not_lost(record, answers, monkeypatch):
    monkeypatch.setattr(judging, "UNSURE", 0.0)
    answers("a")
    begun(record)
    alive = record.folder / "alive"
    alive.touch()
    for later in (0, 100):
        assert judge(record, "slurm", "7", Seen(None, time.time() + later)) is Status.Running
    os.utime(alive, (time.time() - 100,) * 2)  # a network drive may be late
    assert judge(record, "slurm", "7", Seen(None, time.time() + 200)) is Status.Running
    os.utime(alive, (time.time() - 130,) * 2)
    assert judge(record, "slurm", "7", Seen(None, time.time() + 300)) is Status.Failed


@pytest.mark.parametrize("name", ["slurm", "pbs", "lsf"])
def test_another_clusters_job_of_the_same_id_is_not_cancelled(record, answers, monkeypatch, name):
    answers("b")
    monkeypatch.setattr(cancelling, "run", lambda *_, **__: pytest.fail("it would be cancelled"))
    with pytest.raises(LauncherError, match="was submitted to the cluster a, and another one answers here: b"):
        cancelling.cancel(record, name, "7")


def test_slurm_cancels_by_the_name_too(record, answers, monkeypatch):
    answers("a")
    asked = []
    monkeypatch.setattr(cancelling, "run", lambda name, argv, **_: asked.append(argv) or Answer(0, ""))
    cancelling.cancel(record, "slurm", "7")
    cancelling.cancel(record, "slurm", "7", running=True)
    who = [f"--name=tr-{record.id}", f"--user={os.getuid()}", "7"]
    assert asked == [["scancel", *who], ["scancel", "--batch", "--signal=TERM", *who]]


def test_another_job_of_its_number_says_nothing_of_it(record, answers, monkeypatch):
    monkeypatch.setattr(judging, "LAG", 0.0)
    monkeypatch.setattr(cancelling, "run", lambda *_, **__: pytest.fail("another's job would be cancelled"))
    said = Seen(Status.Failed, time.time() + 1, name="tr-another")
    monkeypatch.setattr("lazyllm_launch_psij.launcher.poller", lambda *_: type("", (), {"seen": lambda *_: said}))
    launcher = PsijLauncher()
    job = Job.adopt(record, launcher)
    answers("a")
    assert job.status is Status.InQueue
    said = Seen(Status.Running, time.time() + 2, name="tr-another")
    assert job.status is Status.InQueue and launcher.leftovers([job]) == {record.id: False}
    answers("b")
    assert launcher.leftovers([job]) == {}
    said = Seen(Status.Running, time.time() + 3, name=f"tr-{record.id}")
    assert job.status is Status.Running


def test_variables_that_would_rename_or_requeue_a_job_are_not_passed_on(monkeypatch, tmp_path):
    (tmp_path / "sbatch").write_text("#!/bin/sh\n/usr/bin/env\n")
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name in ("SBATCH_JOB_NAME", "SBATCH_REQUEUE", "SBATCH_CLUSTERS", "SBATCH_QOS"):
        monkeypatch.setenv(name, "x")
    found = [line for line in run("slurm", ["sbatch"]).out.splitlines() if line.startswith("SBATCH_")]
    assert found == ["SBATCH_QOS=x"]


@pytest.fixture
def runs(record):
    """The runner of a job that sleeps, as a scheduler starts it."""
    job = made("sleep", "300")
    argv = [sys.executable, "-I", "-S", NODE, runner.__file__, str(job.folder)]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 20
        while job.status().get("phase") != "running":
            assert time.monotonic() < end
            time.sleep(0.02)
        yield job, process
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize("asked", [False, True])
def test_the_runner_gives_signs_and_knows_who_ended_it(runs, asked):
    job, process = runs
    end = time.monotonic() + 20
    while not (job.folder / "alive").exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    if asked:
        job.ask_to_end()
    process.send_signal(signal.SIGTERM)
    process.wait(20)
    reason = "stopped" if asked else "stopped by its scheduler"
    assert (job.state, job.status()["reason"]) == (Status.Cancelled, reason)


def test_a_runner_whose_job_is_over_begins_nothing(record):
    record.finish(Status.Cancelled, "stopped")
    done = subprocess.run([sys.executable, "-I", "-S", NODE, runner.__file__, str(record.folder)], timeout=60)
    assert done.returncode == 1 and not (record.folder / "alive").exists()


@pytest.mark.simulated
@pytest.mark.parametrize("name", ["pbs", "lsf"])
def test_the_same_programs_speak_of_another_cluster(name, record, simulated, monkeypatch, tmp_path):
    """Both clusters have a job of the same id; the other one's has ended."""
    (simulated / "hold").touch()
    job = PsijLauncher(name, sync=False).makejob(["true"])
    job.quiet = True
    job.start()
    assert json.loads((job.record.folder / unsent.NOTE).read_bytes())["cluster"] == simulated.name
    other = tmp_path / "other"
    other.mkdir()
    with monkeypatch.context() as patch:
        patch.setenv("SIM_SCHEDULER", str(other))
        for module, limit in ((cluster, "SAME"), (judging, "UNSURE"), (judging, "LOST"), (judging, "LAG")):
            patch.setattr(module, limit, 0.0)  # only while the other cluster answers
        for taken in (False, True):
            if taken:
                subprocess.run([SCHEDULERS[name].programs[0]], input=b"true", check=True, capture_output=True)
                while '"ended"' not in (other / "1" / "job").read_text():
                    time.sleep(0.05)
            for _ in "ab":
                Poller.pollers.clear()
                assert Job.adopt(job.record).status is Status.InQueue
        with pytest.raises(LauncherError, match="another one answers here: other"):
            Job.adopt(job.record).stop()
        assert not (other / "1" / "deleted").exists()
    Poller.pollers.clear()
    job.stop()
    assert job.status is Status.Cancelled
