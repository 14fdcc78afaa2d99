"""Processes killed in the middle of their work: nothing may be left behind, and the record says what happened."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from lazyllm.errors import JobError
from lazyllm.jobs import manage, record, runner
from lazyllm.jobs.status import Status
from lazyllm_launch_local.launcher import EmptyLauncher

pytestmark = pytest.mark.faults

TREE = """
trap '' TERM
sleep 300 &
setsid sleep 300 &
env -i sleep 300 &
setsid bash -c 'trap "" TERM; while :; do sleep 1; done' &
sleep 0.3; echo up; while :; do sleep 0.1; done
"""


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
    return value


def descendants(root: int) -> list[int]:
    table = runner.processes()
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        children = [p for p, facts in table.items() if facts[0] == pid]
        found += children
        todo += children
    return found


def alive(pids) -> list[int]:
    return [pid for pid in pids if runner.token(pid)]


@pytest.fixture
def tree():
    """A running job whose processes do what they can to outlive it: (job, their PIDs)."""
    launcher = EmptyLauncher(ngpus=0, sync=False)
    launcher.grace = 1.0
    job = launcher.makejob(["bash", "-c", TREE], name="tree")
    job.start()
    until(lambda: "up" in job.output())
    pids = descendants(job.details()["runner_pid"])
    assert len(pids) >= 5
    yield job, pids
    job.stop()


PARENT = """
import os, sys, time
from lazyllm_launch_local.launcher import EmptyLauncher
launcher = EmptyLauncher(ngpus=0, sync=False)
launcher.grace = 30.0
job = launcher.makejob(["bash", "-c", sys.argv[1]], name="tree", detach=len(sys.argv) > 2)
job.start()
while "up" not in job.output(): time.sleep(0.01)
print(job.details()["runner_pid"], flush=True)
HOW
"""


def parent(how: str, *more: str, grace: float = 30.0) -> tuple[subprocess.Popen, list[int], int]:
    argv = [sys.executable, "-c", PARENT.replace("HOW", how).replace("30.0", str(grace)), TREE, *more]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    keeper = int(process.stdout.readline())
    pids = descendants(keeper)
    assert len(pids) >= 5
    return process, pids, keeper


def test_the_parent_is_killed():
    process, pids, keeper = parent("time.sleep(300)")
    process.kill()
    process.wait()
    until(lambda: not alive([*pids, keeper]), 2.2)
    (found,) = manage.ps()
    assert (found.state, found.reason) == (Status.Cancelled, "owner died")


def test_the_parent_ends_without_stopping_its_job():
    process, pids, keeper = parent("sys.exit(0)", grace=0.5)
    process.wait(40)
    assert not alive([*pids, keeper])
    assert manage.ps()[0].state is Status.Cancelled


def test_ctrl_c_twice():
    process, pids, keeper = parent('job._await(lambda: print("waits", flush=True), None, "end")')  # as `wait` does
    assert process.stdout.readline() == "waits\n"
    process.send_signal(signal.SIGINT)
    (found,) = record.records()
    until(lambda: found.stopping)
    assert alive([keeper])  # one sleeps through its grace
    process.send_signal(signal.SIGINT)
    assert process.wait(5) in (1, -signal.SIGINT, 130)
    assert not alive([*pids, keeper])


def test_a_detached_job_outlives_its_parent_and_is_stopped_from_elsewhere():
    process, pids, keeper = parent("sys.exit(0)", "detach")
    process.wait(20)
    assert alive([keeper])
    (found,) = manage.ps(running=True)
    assert found.detached
    stopped = manage.stop("tree", force=True)
    assert stopped.state is Status.Cancelled and not alive([*pids, keeper])
    assert manage.stop("tree").state is Status.Cancelled


def test_the_runner_is_killed_and_its_owner_sees_it(tree):
    job, pids = tree
    os.kill(job.details()["runner_pid"], signal.SIGKILL)
    with pytest.raises(JobError, match="runner died"):
        job.wait(10)
    assert job.status is Status.Failed and not alive(pids)


def test_parent_and_runner_are_killed():
    process, pids, keeper = parent("time.sleep(300)")
    process.kill()
    os.kill(keeper, signal.SIGKILL)
    process.wait()
    until(lambda: not alive([keeper]))
    assert alive(pids)
    (found,) = manage.ps()
    assert (found.state, found.reason) == (Status.Failed, "runner died")
    until(lambda: not alive(pids), 2)


def test_reap_ends_strays_of_ended_jobs(tree):
    job, pids = tree
    job.stop()
    assert not alive(pids) and manage.reap() == []
    stray = subprocess.Popen(["sleep", "300"], env={**os.environ, "LAZYLLM_JOB_ID": job.id}, start_new_session=True)
    other = subprocess.Popen(["sleep", "300"], env={**os.environ, "LAZYLLM_JOB_ID": "zz123456"}, start_new_session=True)
    (report,) = manage.reap()
    assert (report.id, report.pids, report.left) == (job.id, [stray.pid], [])
    assert stray.wait(2) == -signal.SIGTERM and other.poll() is None
    other.kill()
    other.wait()


def test_reap_after_owner_and_runner_died():
    process, pids, keeper = parent("time.sleep(300)", "detach")
    os.kill(keeper, signal.SIGKILL)
    process.kill()
    process.wait()
    until(lambda: not alive([keeper]))
    (report,) = manage.reap()
    assert report.reason == "runner died" and report.left == [] and not alive(pids)
    assert manage.reap() == []


def test_stop_after_the_runner_died(tree):
    job, pids = tree
    keeper = job.details()["runner_pid"]
    os.kill(keeper, signal.SIGKILL)
    until(lambda: not alive([keeper]))
    assert manage.stop(job.id).state is Status.Failed
    assert not alive(pids)


def test_the_job_itself_is_killed():
    launcher = EmptyLauncher(ngpus=0, sync=False)
    job = launcher.makejob(["sleep", "300"])
    job.start()
    begun = time.monotonic()
    os.kill(int(job.jobid), signal.SIGKILL)
    with pytest.raises(JobError, match="SIGKILL"):
        job.wait(10)
    assert time.monotonic() - begun < 2


def test_a_number_that_was_given_to_another_process_is_left_alone():
    launcher = EmptyLauncher(ngpus=0)
    job = launcher.makejob(["true"])
    launcher.launch(job)
    time.sleep(0.02)  # births are told apart by hundredths of a second
    bystander = subprocess.Popen(["sleep", "300"], start_new_session=True)
    path = job.record.folder / "status.json"
    status = json.loads(path.read_text())
    status.update(state="Running", runner_pid=bystander.pid, pid=bystander.pid, ended=None)
    path.write_text(json.dumps(status))
    assert manage.stop(job.id).reason == "runner died"
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_a_detached_job_started_by_a_job_outlives_it():
    script = PARENT.replace("HOW", "")
    outer = EmptyLauncher(ngpus=0).makejob([sys.executable, "-c", script, "echo up; sleep 300", "detach"], name="outer")
    EmptyLauncher(ngpus=0).launch(outer)
    (inner,) = manage.ps(running=True)
    assert inner.name == "tree" and runner.token(int(inner.jobid))
    manage.stop(inner.id)


def test_an_owned_job_started_by_a_job_ends_with_it():
    script = PARENT.replace("HOW", "time.sleep(300)")
    outer = EmptyLauncher(ngpus=0).makejob([sys.executable, "-c", script, TREE], name="outer")
    outer.start()
    until(lambda: any(line.isdigit() for line in outer.output().splitlines()))
    pids = descendants(outer.details()["runner_pid"])
    assert len(pids) > 6
    outer.stop(force=True)
    assert not alive(pids)


def test_interrupt_stops_the_job():
    launcher = EmptyLauncher(ngpus=0)
    job = launcher.makejob(["sleep", "300"])
    threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        launcher.launch(job)
    assert job.status is Status.Cancelled and not alive([int(job.jobid)])
