"""Records, listing and a launcher of a few lines, without any plugin."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from lazyllm.errors import InputError, JobError
from lazyllm.jobs import manage, record, runner
from lazyllm.jobs.command import Command, Ref, Service, Step
from lazyllm.jobs.job import Job
from lazyllm.jobs.keys import guarded, key_for
from lazyllm.jobs.launcher import LazyLLMLaunchersBase
from lazyllm.jobs.status import JobTimeoutError, Status


class _QueueLauncher(LazyLLMLaunchersBase):
    """A scheduler in three methods: jobs wait until `go`, then run on their own."""

    def __init__(self, sync: bool = True) -> None:
        super().__init__(sync)
        self.waiting, self.processes = {}, {}

    def submit(self, job):
        self.waiting[f"q{len(self.waiting)}"] = job.runner_argv()
        return f"q{len(self.waiting) - 1}"

    def query(self, job):
        if job.jobid not in self.processes:
            return Status.InQueue
        return None if self.processes[job.jobid].poll() is None else Status.Failed

    def cancel(self, job, force=False):
        self.processes[job.jobid].terminate()

    def go(self, job):
        self.processes[job.jobid] = subprocess.Popen(self.waiting[job.jobid], stdin=subprocess.DEVNULL)


@pytest.fixture
def queue():
    launcher = _QueueLauncher(sync=False)
    yield launcher
    for process in launcher.processes.values():
        process.terminate()
        process.wait()


def test_a_launcher_needs_three_methods(queue):
    job = queue.makejob(Command((Step(["echo", "hello"]),), result="R"))
    assert queue.launch(job) == "R" and job.status is Status.InQueue and job.jobid == "q0"
    with pytest.raises(JobTimeoutError, match="did not end within 0.2 s"):
        job.wait(0.2)
    with pytest.raises(JobError, match="no address yet; its state is InQueue"):
        job.get_jobip()
    queue.go(job)
    assert job.wait(20) is Status.Done and job.output() == "hello\n" and job.jobid == "q0"


def test_a_service_in_a_queue(queue):
    argv = [sys.executable, "-m", "http.server", Ref("port", "port"), "--bind", Ref("host")]
    job = queue.makejob(Command((Step(argv),), ports={"port": None}, service=Service(health="/", path="/x")))
    assert queue.launch(job) is None  # not known yet
    queue.go(job)
    job.wait_ready(30)
    assert job.url.endswith("/x") and job.ip == "127.0.0.1"
    adopted = Job.adopt(record.Record(job.record.folder), queue)
    assert adopted.url == job.url and adopted.return_value == job.url
    adopted.stop()
    assert adopted.status is Status.Cancelled
    with pytest.raises(JobError, match="stopped"):
        job.wait(10)


def test_a_runner_that_the_scheduler_lost(queue):
    job = queue.makejob(["sleep", "300"])
    queue.launch(job)
    queue.go(job)
    job.wait_ready(20)
    queue.processes[job.jobid].kill()
    with pytest.raises(JobError, match="runner died"):
        job.wait(20)
    assert runner.token(job.details()["pid"]) is None


def test_other_launchers_take_no_callable(queue):
    with pytest.raises(InputError, match=r"launchers\._queue cannot send the Python object"):
        queue.launch(print)


def made(name="job", status=None, **facts):
    """Make a record as a launcher does; with `status`, also what its runner would have written."""
    described = {"owner": None, "detached": True, "host": "127.0.0.1", "grace": 1.0, **facts}
    new = record.create(Command((Step(["true"]),)), name=name, launcher="empty", env={}, **described)
    if status:
        base = {"node": os.uname().nodename, "started": time.time(), "runner_pid": None, "runner_created": None}
        runner.write_json(str(new.folder / "status.json"), {**base, **status})
    return new


def test_a_record_is_private_and_whole(lazyllm_home):
    command = Command((Step(["true"]),), secrets={"K": "v"}, files={"a.json": "{}"}, env={"A": "mine"})
    new = record.create(command, name="n", launcher="empty", env={"A": "launcher's", "B": "b"})
    assert new.data["env"] == {"A": "mine", "B": "b"} and new.data["secrets"] == ["K"]
    assert json.loads((new.folder / "secrets.json").read_text()) == {"K": "v"}
    modes = {p.name: oct(p.stat().st_mode & 0o777) for p in [new.folder, *new.folder.rglob("*")]}
    assert modes == {
        new.id: "0o700", "files": "0o700", "a.json": "0o600", "secrets.json": "0o600", "job.json": "0o600",
        "output.log": "0o600",
    }  # fmt: skip
    assert (lazyllm_home / "jobs").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["../x", "a/b", "", "."])
def test_file_names_are_plain(name, lazyllm_home):
    with pytest.raises(InputError, match="plain file name"):
        record.create(Command((Step(["true"]),), files={name: ""}), name="n", launcher="empty", env={})
    assert not (lazyllm_home / "jobs").exists()


def test_secrets_stay_out_of_errors():
    with pytest.raises(InputError) as caught:
        record.create(Command((Step(["true"]),), secrets={"K": "hush\0"}), name="n", launcher="empty", env={})
    assert "hush" not in str(caught.value)


def test_find():
    one, two = made("one"), made("two", {"state": "Done", "pid": 123456789})
    three = made("one", {"state": "Done"})
    assert manage.find(one.id).id == one.id and manage.find(two.id[:6]).id == two.id
    assert manage.find("two").id == two.id and manage.find(123456789).id == two.id
    assert manage.find("one").id == one.id, "the one that has not ended"
    assert three.id != one.id
    for wrong in ("", "nothing", "../jobs", ".", "/"):
        with pytest.raises(InputError, match="There is no job"):
            manage.find(wrong)
    with pytest.raises(InputError, match="Did you mean 'two'"):
        manage.find("twoo")


def test_servers_that_others_reach_get_a_key(queue, monkeypatch):
    served = Command((Step(("serve", Ref("port", "port"))),), ports={"port": None}, service=Service())
    queue.host = None
    keys = []
    for _ in range(2):
        job = queue.makejob(served)
        job.start()
        keys.append(json.loads(job.key_file.read_text())["LAZYLLM_API_KEY"])
        assert job.key_file.stat().st_mode & 0o777 == 0o600
        assert keys[-1] not in (job.log.parent / "job.json").read_text()
    assert len(set(keys)) == 2 and all(len(key) > 40 for key in keys)
    monkeypatch.setenv("LAZYLLM_API_KEY", "of-the-user")
    assert guarded(served, "10.0.0.1").secrets == {"LAZYLLM_API_KEY": "of-the-user"}
    assert guarded(replace(served, env={"LAZYLLM_API_KEY": "own"}), None).secrets == {}
    assert guarded(served, "127.0.0.1").secrets == {} and guarded(Command((Step(("true",)),)), None).secrets == {}


def test_the_key_of_a_url():
    new = made("s", {"state": "Running", "address": {"host": "10.1.1.1", "ports": {"port": 23457}}})
    data = {**new.data, "service": {"port": "port", "path": "/v1"}, "secrets": ["LAZYLLM_API_KEY"]}
    runner.write_json(str(new.folder / "job.json"), data)
    assert key_for("http://10.1.1.1:23457/v1") is None
    runner.write_json(str(new.folder / "secrets.json"), {"LAZYLLM_API_KEY": "k"})
    assert key_for("http://10.1.1.1:23457/v1/") == "k" and key_for("http://10.1.1.1:23458/v1") is None


def test_find_by_url():
    new = made("s", {"state": "Done", "address": {"host": "127.0.0.1", "ports": {"port": 23456}}})
    data = {**new.data, "service": {"port": "port", "path": "/v1"}}
    runner.write_json(str(new.folder / "job.json"), data)
    for url in ("http://127.0.0.1:23456/v1", "http://127.0.0.1:23456/v1/", "http://127.0.0.1:23456", "127.0.0.1:23456"):
        assert manage.find(url).id == new.id


def test_a_thousand_records():
    for n in range(1000):
        made(f"job {n}", {"state": "Done", "ended": time.time()})
    begun = time.process_time()
    found = manage.ps()
    assert time.process_time() - begun < 1.0
    assert [job.name for job in found] == [f"job {n}" for n in range(1000)]


def test_prune(lazyllm_home, monkeypatch):
    old = time.time() - 31 * 86400
    made("old", {"state": "Done", "ended": old})
    made("runs", {"state": "Running", "node": "elsewhere", "started": old})
    for n in range(5):
        made(f"new {n}", {"state": "Failed", "ended": time.time() - n})
    (lazyllm_home / "jobs" / "mine").mkdir()
    (lazyllm_home / "jobs" / "mine" / "job.json").write_text("{}")
    (lazyllm_home / "jobs" / "note").write_text("x")
    monkeypatch.setattr(record, "KEPT", 3)
    assert manage.prune() == 3
    assert {job.name for job in manage.ps()} == {"runs", "new 0", "new 1", "new 2"}
    assert (lazyllm_home / "jobs" / "mine").exists() and (lazyllm_home / "jobs" / "note").exists()


def test_logs():
    new = made("talks", {"state": "Done"})
    new.log.write_bytes(b"one\ntwo\rTWO\nthree")
    assert list(manage.logs("talks")) == list(manage.logs("talks", follow=True)) == ["one", "TWO", "three"]
    assert list(manage.logs(new.id, lines=2)) == ["TWO", "three"]
    assert list(manage.logs(new.id, lines=2, follow=True)) == ["TWO", "three"]


def test_a_job_on_another_machine_is_left_alone():
    new = made("far", {"state": "Running", "node": "elsewhere", "runner_pid": 1, "runner_created": "x", "pid": 1})
    assert [job.state for job in manage.ps()] == [Status.Running]
    assert manage.reap() == [] and new.state is Status.Running


def test_a_job_that_never_began():
    made("lost", owner={"pid": 999999999, "created": "x"}, detached=False)
    (found,) = manage.ps()
    assert (found.state, found.reason) == (Status.Failed, "never started")
    made("begins", owner=record.owner(), detached=False)
    assert manage.find("begins").state is Status.TBSubmitted and len(manage.ps(running=True)) == 1


def test_an_empty_home():
    assert manage.ps() == [] and manage.reap() == [] and manage.prune() == 0


def test_the_output_can_be_kept_elsewhere(tmp_path):
    wished = tmp_path / "new folder" / "server.log"
    made = record.create(Command.of(["true"], log=str(wished)), name="n", launcher="empty", env={})
    assert made.log.resolve() == wished
    wished.write_text("a line\n")
    assert made.log.read_text() == "a line\n"
