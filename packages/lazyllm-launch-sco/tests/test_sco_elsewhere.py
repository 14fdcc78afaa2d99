"""Answers of the wrong SenseCore, or of nobody, end no job."""

import os
import subprocess
import sys
import time

import pytest

from lazyllm.errors import LauncherError
from lazyllm.jobs.command import Command
from lazyllm.jobs.recording import create
from lazyllm.jobs.runner import write_json
from lazyllm.jobs.status import Status
from lazyllm.jobs.tools import Answer
from lazyllm_launch_sco import judge as judging
from lazyllm_launch_sco.backend import backend_of
from lazyllm_launch_sco.simulator.world import World
from lazyllm_launch_sco.states import GONE, Seen
from lazyllm_launch_sco.stop import stop
from lazyllm_launch_sco.ticket import Ticket, tools_here


@pytest.fixture
def record(lazyllm_home):
    made = create(Command.of(["x"]), name="x", launcher="sco", env={})
    made.submitted("pt-1")
    made.data["created"] -= 1000
    return made


def judged(record, lasting):
    for asked in (time.time(), time.time() + lasting):
        found = judging.judge(record, "pt-1", Seen(GONE, asked, "pt-1"), backend_of("srun", "space"))
    return found


@pytest.mark.parametrize("variable", ["PATH", "HOME", "SCO_PROFILE"])
def test_other_tools_know_nothing_of_a_job(record, variable, monkeypatch, tmp_path):
    Ticket("srun", "space", tools=tools_here("srun")).write(record)
    elsewhere = tmp_path / "bin"
    elsewhere.mkdir()
    (elsewhere / "squeue").touch(mode=0o700)
    with monkeypatch.context() as other:
        other.setenv(variable, str(elsewhere))
        assert judged(record, 99) is None
        record.ask_to_end()
        assert judged(record, 99) is None
        other.setattr("lazyllm_launch_sco.stop.PAUSE", 0.0)
        other.setattr("lazyllm_launch_sco.srun.run", lambda *_, **__: Answer(1, "", "job pt-1 not found"))
        with pytest.raises(LauncherError, match="other tools, settings or another HOME"):
            stop(record, "pt-1", backend_of("srun", "space"), force=False)
        record.ask_to_end(False)
    assert judged(record, 99) is Status.Failed


def test_a_job_whose_node_gives_signs_of_life_is_not_lost(record, monkeypatch):
    write_json(str(record.folder / "status.json"), {"state": "Running", "node": "elsewhere"})
    alive = record.folder / "alive"
    alive.touch()
    assert judged(record, 99) is None
    os.utime(alive, (time.time() - judging.SILENT - 1,) * 2)
    assert judged(record, 99) is Status.Cancelled
    assert record.status()["reason"].startswith("deleted on SenseCore")


@pytest.mark.faults
def test_listing_with_another_sensecores_tools_ends_nothing(world, make, tmp_path, until):
    """Twice, so long after each other that the first time counts."""
    other = World(tmp_path / "other")
    path = f"{other.setup('older')}:{os.environ['PATH']}"
    runs = make(sync=False).makejob(["sleep", "60"])
    runs.start()
    runs.wait_ready(20)
    world.control(queue=60)
    waits = make(sync=False).makejob(["echo", "never"])
    waits.start()
    until(lambda: waits.jobid.startswith("pt-"))
    code = "import lazyllm_launch_sco.judge as j, time; j.LOST = j.LAG = j.UNSURE = 1.0\n"
    code += "from lazyllm.jobs import manage\n"
    code += "for _ in 'ab': print([str(i.state) for i in manage.ps(True)]); time.sleep(2)"
    argv = [sys.executable, "-c", code]
    said = subprocess.run(argv, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=60)
    assert sorted(said.stdout.splitlines()) == ["['Running', 'InQueue']"] * 2, said.stderr
    assert runs.record.state is Status.Running and not runs.record.stopping and not waits.record.stopping
    for job in (runs, waits):
        job.stop()


@pytest.mark.faults
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("words", ["%%% <html>garbage", ""])
def test_an_answer_without_a_table_loses_no_job(world, make, monkeypatch, words):
    monkeypatch.setattr("lazyllm_launch_sco.judge.LOST", 0.3)
    monkeypatch.setattr("lazyllm_launch_sco.judge.UNSURE", 0.3)
    squeue = world.folder / "bin" / "squeue"
    was = squeue.read_text()
    squeue.write_text(f"#!/bin/sh\necho '{words}'\n")
    world.control(queue=60)
    job = make(sync=False).makejob(["echo", "never"])
    job.start()
    time.sleep(2)
    assert job.status is Status.InQueue and not job.record.stopping
    squeue.write_text(was)
    job.stop()
    assert job.status is Status.Cancelled
