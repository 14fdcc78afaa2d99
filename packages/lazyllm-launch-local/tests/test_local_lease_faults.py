"""Leases of GPUs when processes race or are killed."""

import json
import os
import signal
import sys
import time

import pytest

from lazyllm.errors import JobError, LauncherError
from lazyllm.jobs import manage, runner

pytestmark = pytest.mark.faults


def test_eight_processes_want_four_gpus(machine):
    gpus = machine(4)
    others = [gpus.elsewhere(name=f"job {n}") for n in range(8)]
    answers = [json.loads(other.stdout.readline()) for other in others]
    assert sorted(answer["gpus"] for answer in answers if "gpus" in answer) == ["0", "1", "2", "3"]
    refused = [answer["refused"] for answer in answers if "refused" in answer]
    assert len(refused) == 4 and all(text.count("is held by") == 4 for text in refused)
    assert gpus.leased == [0, 1, 2, 3]
    for other in others:
        other.kill()
        other.wait()
    gpus.until(lambda: not gpus.leased)


def test_the_launching_process_is_killed(machine):
    gpus = machine(2)
    owner, leaver = gpus.elsewhere(), gpus.elsewhere(detach=True, name="left")
    assert {json.loads(other.stdout.readline())["gpus"] for other in (owner, leaver)} == {"0", "1"}
    for other in (owner, leaver):
        other.kill()
        other.wait()
    gpus.until(lambda: len(gpus.leased) == 1)
    time.sleep(0.5)
    assert len(gpus.leased) == 1
    manage.stop("left")
    assert gpus.leased == []


@pytest.mark.parametrize("whom", ["runner_pid", "pid"])
def test_the_runner_or_the_program_is_killed(machine, whom):
    gpus = machine(1)
    job = gpus.begin()
    gpus.until(job.output)
    os.kill(job.details()[whom], signal.SIGKILL)
    gpus.until(lambda: not gpus.leased, 5)
    with pytest.raises(JobError):
        job.wait(10)
    assert gpus.shown(gpus.begin()) == "0"


KEEPS = ["sh", "-c", "setsid sleep 300 & echo up; wait"]
CLOSES = """
import subprocess
child = subprocess.Popen(["sleep", "300"], start_new_session=True)
print("up", flush=True)
child.wait()
"""


@pytest.mark.parametrize("argv", [KEEPS, [sys.executable, "-c", CLOSES]], ids=["inherits", "closes"])
def test_what_is_left_of_a_job_keeps_its_gpu(machine, argv):
    gpus = machine(1)
    other = gpus.elsewhere(detach=True, argv=argv)
    told = json.loads(other.stdout.readline())
    other.kill()
    other.wait()
    step = manage.find(told["id"]).status()["pid"]
    (left,) = set(runner.family(told["id"])) - {step, told["runner"]}
    os.kill(told["runner"], signal.SIGKILL)
    gpus.until(lambda: not runner.token(step))
    assert runner.token(left) and gpus.leased == ([0] if argv is KEEPS else [])
    with pytest.raises(LauncherError, match=f"GPU 0 is held by job {told['id']}, PID {left}") as caught:
        gpus.begin()
    assert ("lazyllm reap" in str(caught.value)) is (argv is not KEEPS)
    manage.reap()
    assert not runner.token(left) and gpus.shown(gpus.begin()) == "0"
