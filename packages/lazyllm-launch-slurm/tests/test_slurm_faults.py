"""Things that go away while a job runs: the controller, the caller, the runner, the node's patience."""

import logging
import os
import signal
import subprocess
import sys
import time

import pytest

from lazyllm.errors import JobError, JobTimeoutError, LauncherError
from lazyllm.jobs import manage, recording, runner
from lazyllm.jobs.command import Command, Step
from lazyllm.jobs.polling import Poller
from lazyllm.jobs.status import Status
from lazyllm_launch_slurm.launcher import SlurmLauncher

pytestmark = [
    pytest.mark.slurm, pytest.mark.faults, pytest.mark.xdist_group("slurm"), pytest.mark.usefixtures("cluster"),
]  # fmt: skip

CALLER = """
import sys, time
from lazyllm_launch_slurm.launcher import SlurmLauncher
job = SlurmLauncher("debug").makejob(["sh", "-c", sys.argv[1]], name="orphan")
job.start()
job.wait_ready(30)
print(job.jobid, flush=True)
job.wait()
"""


@pytest.fixture
def launcher():
    return SlurmLauncher("debug", sync=False)


def slurm(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, timeout=60).stdout


def cold():
    """Make this process as ignorant of Slurm's jobs as a new one."""
    for known in Poller.pollers.values():
        for jobid in list(known.followed):
            known.leave(jobid)
    Poller.pollers.clear()


def test_the_controller_restarts_during_a_job(cluster, launcher):
    job = launcher.makejob(["sh", "-c", "sleep 3; echo through"])
    job.start()
    job.wait_ready(20)
    cluster("stop")
    cluster("start")
    assert job.wait(60) is Status.Done and job.output() == "through\n"


@pytest.mark.parametrize("away, back", [("stop", "start"), ("pause", "go")])
def test_the_controller_is_away(cluster, launcher, away, back):
    job = launcher.makejob(["sh", "-c", "sleep 20; date +%s.%N"])
    job.start()
    job.wait_ready(20)
    cluster(away)
    try:
        begun = time.monotonic()
        cold()
        (found,) = manage.ps(running=True)
        assert found.state is Status.Running and time.monotonic() - begun < 3
        assert job.status is Status.Running
        with pytest.raises(LauncherError, match="controller does not answer"):
            launcher.makejob(["true"]).start()
        assert job.wait(60) is Status.Done  # the record says it, whoever is away
        assert time.time() - float(job.output()) < 20
    finally:
        cluster(back)


def test_the_end_is_heard_of_without_the_controller(cluster, launcher):
    job = launcher.makejob(["sh", "-c", "sleep 2; date +%s.%N"])
    job.start()
    job.wait_ready(20)
    cluster("pause")
    try:
        job.wait(20)
        assert time.time() - float(job.output()) < 0.5
    finally:
        cluster("go")


def test_the_caller_is_killed_and_another_process_takes_over(until):
    caller = subprocess.Popen(
        [sys.executable, "-c", CALLER, "echo one; sleep 2; echo two; sleep 300"], stdout=subprocess.PIPE, text=True
    )
    jobid = caller.stdout.readline().strip()
    caller.kill()
    caller.wait()
    cold()
    (found,) = manage.ps(running=True)
    assert (found.jobid, found.state, found.name) == (jobid, Status.Running, "orphan")
    lines = manage.logs("orphan", follow=True)
    assert [next(lines), next(lines)] == ["one", "two"]
    lines.close()
    pid = manage.find(jobid).status()["pid"]
    assert manage.stop(jobid).state is Status.Cancelled
    assert runner.token(pid) is None
    until(lambda: jobid not in slurm("squeue", "-h", "-o", "%i").split())


def test_the_caller_is_killed_while_it_submits(launcher, monkeypatch):
    job = launcher.makejob(["sleep", "60"])
    job.start()
    job.wait_ready(20)
    number = job.jobid
    job.record.submitted(slurm("squeue", "-h", "-j", number, "-o", "%j").strip())  # all that was written by then
    cold()
    assert manage.ps(running=True)[0].state is Status.Running
    found = manage.find(job.id)
    assert found.jobid == number  # it was looked up
    assert manage.stop(job.id).state is Status.Cancelled


def test_slurm_puts_a_job_back_and_it_runs_again(launcher, until):
    program = 'echo begun $TOKEN $SLURM_RESTART_COUNT; test "$SLURM_RESTART_COUNT" || exec sleep 300'
    job = launcher.makejob(Command((Step(["sh", "-c", program]),), secrets={"TOKEN": "t"}))
    job.start()
    job.wait_ready(20)
    slurm("scontrol", "requeue", job.jobid)
    until(lambda: job.status is Status.InQueue)
    until(lambda: "Reason=BeginTime" in slurm("scontrol", "show", "job", "-o", job.jobid))
    time.sleep(3)  # a start in the second of the last end would be refused as the old one
    slurm("scontrol", "update", f"JobId={job.jobid}", "StartTime=now")  # else it waits for two minutes
    assert job.wait(60) is Status.Done
    lines = job.output().splitlines()
    assert lines[0] == "begun t" and lines[-1] == "begun t 1" and "REQUEUE" in lines[1]


def test_cancelled_by_somebody_else(launcher):
    job = launcher.makejob(["sleep", "300"])
    job.start()
    job.wait_ready(20)
    slurm("scancel", job.jobid)
    with pytest.raises(JobError, match="cancelled in Slurm"):
        job.wait(30)
    assert job.status is Status.Cancelled


def test_its_node_fails(until):
    job = SlurmLauncher("debug", sync=False, requeue=False).makejob(["sleep", "300"])
    job.start()
    job.wait_ready(20)
    node = f"nodename={job.details()['node'].removeprefix('slurm/')}"
    slurm("scontrol", "update", node, "state=down", "reason=test")
    try:
        with pytest.raises(JobError, match="its node failed"):
            job.wait(30)
        assert job.status is Status.Failed
    finally:
        until(lambda: is_up(node), 60)


def is_up(node):
    """Have a node resumed, and say whether it is up; other jobs may be on it by then."""
    slurm("scontrol", "update", node, "state=resume")
    return "down" not in (slurm("sinfo", "-h", "-N", "-n", node.partition("=")[2], "-o", "%T") or "down")


def test_preempted():
    job = SlurmLauncher("small", ngpus=8, sync=False, requeue=False).makejob(["sleep", "300"])
    job.start()
    job.wait_ready(20)
    urgent = SlurmLauncher("urgent", ngpus=8, sync=False).makejob(["true"])
    urgent.start()
    with pytest.raises(JobError, match="preempted by another Slurm job"):
        job.wait(30)
    assert job.status is Status.Cancelled
    assert urgent.wait(60) is Status.Done


def test_why_it_waits_is_said(caplog, until):
    logger = logging.getLogger("lazyllm")
    logger.addHandler(caplog.handler)
    job = SlurmLauncher("debug", sync=False, options={"hold": True}).makejob(["true"])
    job.start()
    until(lambda: manage.ps()[0].reason == "held; scontrol release lets it go (JobHeldUser)")
    assert "waits in its queue" not in caplog.text  # nobody waits for it
    with pytest.raises(JobTimeoutError):
        job.wait(5)
    slurm("scontrol", "update", f"JobId={job.jobid}", "Dependency=afterok:1", "Hold=no")
    slurm("scontrol", "update", f"JobId={job.jobid}", "StartTime=now+60")
    slurm("scontrol", "release", job.jobid)
    with pytest.raises(JobTimeoutError):
        job.wait(8)
    logger.removeHandler(caplog.handler)
    told = [line.split(": ", 1)[1] for line in caplog.messages if "waits in its queue" in line]
    assert told[0] == "held; scontrol release lets it go (JobHeldUser)" and 2 <= len(told) <= 3, told
    job.stop()
    assert manage.ps()[0].reason == "stopped"


def test_cancelled_in_the_queue(launcher):
    job = SlurmLauncher("debug", sync=False, options={"hold": True}).makejob(["true"])
    job.start()
    time.sleep(0.5)
    assert job.status is Status.InQueue
    slurm("scancel", job.jobid)
    with pytest.raises(JobError, match="cancelled in Slurm"):
        job.wait(30)


def test_slurm_suspends_a_job(launcher, until):
    job = launcher.makejob(["sleep", "300"])
    job.start()
    job.wait_ready(20)
    slurm("scontrol", "suspend", job.jobid)
    until(lambda: job.status is Status.Pending)
    slurm("scontrol", "resume", job.jobid)
    until(lambda: job.status is Status.Running)
    job.stop()


def test_the_runner_is_killed(launcher, until):
    script = "import subprocess, time; subprocess.Popen(['sleep', '301'], start_new_session=True); "
    job = launcher.makejob([sys.executable, "-c", script + "print('up', flush=True); time.sleep(300)"])
    job.start()
    until(lambda: "up" in job.output())
    details = job.details()
    os.kill(details["runner_pid"], signal.SIGKILL)
    with pytest.raises(JobError, match="its runner died .*signal 9"):
        job.wait(30)
    assert runner.family(job.id) == {}  # what had a session of its own was ended too


def test_what_hears_no_signal_is_killed(launcher, until):
    child = "trap '' TERM; setsid sh -c \"trap '' TERM; echo up; sleep 300\" & sleep 300; sleep 300"
    job = launcher.makejob(["sh", "-c", child])
    job.start()
    until(lambda: "up" in job.output())
    job.stop(force=True)
    assert job.status is Status.Cancelled and runner.family(job.id) == {}


@pytest.fixture
def log(tmp_path, monkeypatch):
    """Names Slurm's programs, a line each time that one is called."""
    found = tmp_path / "queries"
    for name in ("squeue", "scontrol", "sacct", "sinfo"):
        shim = tmp_path / "bin" / name
        shim.parent.mkdir(exist_ok=True)
        shim.write_text(f'#!/bin/sh\necho {name} >> {found}\nexec /usr/bin/{name} "$@"\n')
        shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return found


@pytest.mark.parametrize("number", [1, 50])
def test_queries_do_not_grow_with_forgotten_jobs(log, number):
    for n in range(number):
        made = recording.create(Command.of(["true"]), name="t", launcher="slurm", env={}, owner=None, notify=False)
        made.submitted(str(700_000 + n))
        runner.write_json(str(made.folder / "status.json"), {"state": "Running", "node": "slurm/n1"})
    cold()
    assert len(manage.ps(running=True)) == number  # they are too young to be given up
    assert sorted(log.read_text().split()) == ["sacct", "scontrol", "squeue"]


def test_queries_do_not_grow_with_jobs(launcher, log):
    counts = {}
    for number in (1, 10, 60):
        jobs = [launcher.makejob(["true"]) for _ in range(number)]
        for job in jobs:
            job.launcher = SlurmLauncher("debug", sync=False, options={"hold": True})
            job.quiet = True
            job.start()
        time.sleep(1)
        log.write_text("")
        assert {job.status for job in jobs} == {Status.InQueue}
        time.sleep(4)
        assert {job.status for job in jobs} == {Status.InQueue}
        counts[number] = log.read_text().splitlines().count("squeue")
        log.write_text("")
        cold()
        assert len(manage.ps(running=True)) == number
        assert log.read_text().split().count("squeue") <= 3  # one for all, and what the watchers' thread asks meanwhile
        for job in jobs:
            job.ask_to_end()
        for job in jobs:
            job.stop()
    assert max(counts.values()) <= counts[1] + 2, counts
