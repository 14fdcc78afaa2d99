"""Things that go wrong around a job: SenseCore answers late, wrongly or not at all; processes die; jobs are moved."""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time

import pytest

import lazyllm
import lazyllm_launch_sco.acp
import lazyllm_launch_sco.srun
from lazyllm.errors import JobError, LauncherError
from lazyllm.jobs import manage, runner
from lazyllm.jobs.job import Job
from lazyllm.jobs.status import Status
from lazyllm_launch_sco import launcher, trouble

BOTH = pytest.mark.parametrize("generation", ["older", "acp"], indirect=True)
WAITS = "import os, time\nprint('up', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.05)\nprint('went on')"
pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("quick")]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def waiting(make, until):
    """Start a job that ends when the file `go` is there."""

    def start(**kw):
        job = make(sync=False, **kw).makejob([sys.executable, "-c", WAITS], name="waiting")
        job.start()
        until(lambda: job.output() == "up\n")
        return job

    return start


def test_a_job_that_is_listed_late(world, make, waiting, until, folder):
    world.control(listed_after=3600)
    job = waiting()
    assert job.jobid == f"s_flag_{job.id}" and job.status is Status.Running
    world.control(listed_after=0)
    until(lambda: job.status and job.jobid.startswith("pt-"))
    (folder / "go").touch()
    assert job.wait(40) is Status.Done


def test_a_queued_job_that_is_listed_late(world, make, until, monkeypatch, caplog):
    monkeypatch.setattr(lazyllm.LOG, "propagate", True)
    caplog.set_level(logging.INFO)
    world.control(listed_after=3600, queue=60)
    job = make(sync=False).makejob(["echo", "never"])
    job.start()
    waited, gave_up = (
        next(r for r in caplog.records if words in r.message) for words in ("looked for for", "yet; its")
    )
    assert gave_up.created - waited.created > 0.5  # it was said before, not after
    assert job.status is Status.InQueue and job.jobid == f"s_flag_{job.id}"
    assert len(world.calls("squeue")) >= launcher.TRIES == 5
    world.control(listed_after=0)
    until(lambda: job.jobid.startswith("pt-") or job.status.ended)
    job.stop()
    assert job.status is Status.Cancelled


@BOTH
def test_a_cancel_that_hangs(world, waiting, monkeypatch):
    for module in ("srun", "acp"):
        monkeypatch.setattr(f"lazyllm_launch_sco.{module}.STOP", 0.5)
    world.control(hang={"scancel": 99, "stop": 99})
    job = waiting()
    begun = time.monotonic()
    job.stop()
    assert job.status is Status.Cancelled and time.monotonic() - begun < 15


@BOTH
def test_a_cancel_that_does_nothing(world, waiting):
    world.control(deaf=99)
    job = waiting()
    job.stop()
    assert job.status is Status.Cancelled and job.details()["reason"] == "stopped"


def test_a_cancel_is_tried_three_times(world, make):
    world.control(queue=60, deaf=2)
    job = make(sync=False).makejob(["echo", "never"])
    job.start()
    job.stop()
    assert job.status is Status.Cancelled and len(world.calls("scancel")) == 3


def test_a_queued_job_that_nobody_cancels(world, make):
    world.control(queue=60, deaf=99)
    job = make(sync=False).makejob(["echo", "never"])
    job.start()
    with pytest.raises(LauncherError, match="did not cancel job .*being processed"):
        job.stop()
    assert job.status is Status.InQueue and not job.record.stopping  # it is as it was
    world.control(deaf=0)
    job.stop()
    assert job.status is Status.Cancelled


@BOTH
@pytest.mark.parametrize(
    "knobs",
    [{"text": True}, {"state": "WAIT_QUOTA"}, {"credentials": "expired"}, {"down": "502 bad gateway"}],
    ids=["text", "unknown state", "credentials", "down"],
)
def test_answers_that_say_nothing_are_no_failure(world, waiting, make, folder, knobs, monkeypatch, caplog):
    job = waiting()
    world.control(queue=60)
    queued = make(sync=False).makejob(["echo", "never"])
    queued.start()
    monkeypatch.setattr(lazyllm.LOG, "propagate", True)
    trouble._said.clear()
    world.control(**knobs)
    time.sleep(1.5)
    assert job.status is Status.Running and queued.status is Status.InQueue
    (folder / "go").touch()
    assert job.wait(40) is Status.Done and job.output() == "up\nwent on\n"
    said = {line for line in caplog.messages if "asked again" in line}
    assert 1 <= len(said) <= 2 and ("credentials" not in knobs or "sco init" in caplog.text)
    world.control(text=False, state="", credentials="", down="")
    queued.stop()


def test_queries_that_hang(world, waiting, folder, monkeypatch):
    monkeypatch.setattr("lazyllm_launch_sco.srun.QUERY", 0.5)
    job = waiting()
    world.control(hang={"scontrol": 99, "squeue": 99})
    begun = time.monotonic()
    assert job.status is Status.Running and manage.ps()[0].state is Status.Running
    (folder / "go").touch()
    assert job.wait(40) is Status.Done
    assert time.monotonic() - begun < 15


@BOTH
def test_queries_that_hang_do_not_delay_a_look_at_a_job_on_this_machine(world, waiting):
    job = waiting()
    world.control(hang=dict.fromkeys(("scontrol", "squeue", "list", "describe"), 99))
    begun = time.monotonic()
    assert Job.adopt(manage.find(job.id)).status is Status.Running and time.monotonic() - begun < 2
    world.control(hang={})
    job.stop()


@BOTH
def test_an_interrupted_submission_leaves_nothing_behind(world, make, monkeypatch, until):
    world.control(queue=60)

    def interrupted(*_):
        until(world.every)
        raise KeyboardInterrupt

    for name in ("Srun", "Acp"):
        kind = getattr(getattr(lazyllm_launch_sco, name.lower()), name)
        monkeypatch.setattr(kind, "submit", lambda self, order, was=kind.submit: (was(self, order), interrupted()))
    job = make(sync=False).makejob(["echo", "never"])
    with pytest.raises(KeyboardInterrupt):
        job.start()
    assert job.status is Status.Failed and job.record.stopping
    until(lambda: [job for job in world.every() if job["state"] != "SUSPENDED"] == [])


@BOTH
def test_a_job_that_waits_in_the_queue(world, make):
    world.control(queue=1.0, create=0.5)
    job = make(sync=False).makejob(["echo", "hello"])
    job.start()
    seen = []
    while not seen or not seen[-1].ended:
        seen.append(job.status)
        time.sleep(0.05)
    assert seen[0] is Status.InQueue and seen[-1] is Status.Done and Status.Failed not in seen
    assert job.output() == "hello\n"


@BOTH
def test_a_job_that_is_suspended(world, waiting):
    job = waiting()
    world.tell(job.jobid, "suspend")
    with pytest.raises(JobError, match="(stopped|suspended) on SenseCore"):
        job.wait(20)
    assert job.status is Status.Cancelled


@BOTH
def test_a_node_that_does_not_see_the_python(make):
    with pytest.raises(JobError, match="did not start on the node.*failed") as caught:
        make(python="/no/such/python").launch(["true"])
    assert "/no/such/python" in caught.value.output


@BOTH
def test_an_environment_that_is_not_there(make, monkeypatch):
    monkeypatch.setenv("LAZYLLM_SCO_ENV_NAME", "nosuch")
    with pytest.raises(JobError, match="activate: No such file.*sco_env_name.*`source activate nosuch`"):
        make().launch(["true"])


@BOTH
def test_the_runner_is_killed(waiting):
    job = waiting()
    os.kill(job.details()["runner_pid"], signal.SIGKILL)
    with pytest.raises(JobError, match="runner died"):
        job.wait(20)
    assert job.status is Status.Failed and runner.family(job.id) == {}


def test_srun_is_killed(world, waiting, folder):
    job = waiting()
    from lazyllm_launch_sco.srun import _clients

    _clients[job.id].kill()
    _clients[job.id].wait()
    time.sleep(0.5)
    assert job.status is Status.Running
    (folder / "go").touch()
    assert job.wait(40) is Status.Done


@BOTH
def test_another_process_finds_it_without_the_settings(world, waiting):
    job = waiting(workspace_name="space", partition="part")
    environ = {k: v for k, v in os.environ.items() if k not in ("LAZYLLM_SCO_WORKSPACE", "LAZYLLM_SLURM_PART")}
    argv = [sys.executable, "-m", "lazyllm", "stop", job.id]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    with pytest.raises(JobError, match="stopped"):
        job.wait(40)
    assert job.status is Status.Cancelled


def can_rename() -> bool:
    pid = os.fork()
    if not pid:
        os._exit(0 if ctypes.CDLL(None).unshare(0x04000000) == 0 else 1)
    return os.waitpid(pid, 0)[1] == 0


@pytest.fixture
def elsewhere(world):
    """Nodes with names of their own: nobody here can look at their processes, as with real nodes."""
    if not can_rename():
        pytest.skip("this user may not give processes a host name of their own")
    world.control(hostnames=True)


@BOTH
@pytest.mark.parametrize("where", ["elsewhere", "world"])  # a node may have the name of this machine
def test_a_job_that_is_put_back_after_the_loss_of_its_node(world, waiting, until, folder, request, where):
    request.getfixturevalue(where)
    job = waiting()
    assert job.details()["node"].endswith("worker-0" if where == "elsewhere" else os.uname().nodename)
    world.control(queue=1.5)
    world.tell(job.jobid, "restart")
    until(lambda: job.status is Status.InQueue)
    until(lambda: job.status is Status.Running and job.output() == "up\n" * 2)
    (folder / "go").touch()
    assert job.wait(40) is Status.Done


@BOTH
@pytest.mark.usefixtures("elsewhere")
def test_a_job_that_is_deleted_elsewhere(world, waiting, monkeypatch):
    for name in ("LOST", "UNSURE", "SILENT"):
        monkeypatch.setattr(f"lazyllm_launch_sco.judge.{name}", 1.0)
    job = waiting()
    world.change(job.jobid, workspace="elsewhere")  # as far as this one's tools can tell
    with pytest.raises(JobError, match="deleted on SenseCore"):
        job.wait(60)


@pytest.mark.usefixtures("elsewhere")
def test_a_node_that_is_lost_for_good(world, waiting):
    job = waiting()
    world.change(job.jobid, state="FAILED")
    with pytest.raises(JobError, match="its runner died .SenseCore: failed"):
        job.wait(20)
    world.change(job.jobid, state="RUNNING")


@pytest.mark.parametrize("generation", ["acp"], indirect=True)
def test_one_query_answers_for_many_jobs(world, make):
    world.control(queue=60)
    jobs = [make(sync=False).makejob(["echo", "never"], name=f"j{i}") for i in range(8)]
    for job in jobs:
        job.quiet = True
        job.start()
    before, begun = len(world.calls("sco", "acp", "jobs", "list")), time.monotonic()
    time.sleep(2)
    assert {job.status for job in jobs} == {Status.InQueue}
    asked = len(world.calls("sco", "acp", "jobs", "list")) - before
    assert asked <= (time.monotonic() - begun) / 0.5 + 2  # one was under way, and one is
    assert not world.calls("sco", "acp", "jobs", "describe")
    for job in jobs:
        job.ask_to_end()
    for job in jobs:
        job.stop()


def test_single_queries_do_not_grow_without_bound(world, make, monkeypatch):
    monkeypatch.setattr("lazyllm_launch_sco.poller.ScoPoller.slow", 5.0)
    world.control(queue=60)
    jobs = [make(sync=False).makejob(["echo", "never"], name=f"j{i}") for i in range(20)]
    for job in jobs:
        job.quiet = True
        job.start()
    before, begun = len(world.calls("scontrol")), time.monotonic()
    time.sleep(8)
    assert len(world.calls("scontrol")) - before <= 12 * (time.monotonic() - begun)
    assert {job.status for job in jobs} == {Status.InQueue}
    for job in jobs:
        job.ask_to_end()
    for job in jobs:
        job.stop()
    assert lazyllm.config["sco_keep_record"] is False
