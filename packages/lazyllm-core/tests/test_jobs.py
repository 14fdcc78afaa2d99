"""Records, listing and a launcher of a few lines, without any plugin."""

import errno
import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from lazyllm.errors import ConfigError, InputError, JobError, JobTimeoutError, LauncherError
from lazyllm.jobs import manage, record, recording, runner
from lazyllm.jobs.command import Command, Ref, Service, Step
from lazyllm.jobs.job import Job
from lazyllm.jobs.keys import guarded
from lazyllm.jobs.launcher import LazyLLMLaunchersBase
from lazyllm.jobs.status import Status


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
    for found in manage.ps(running=True):
        manage.stop(found.id, force=True)
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


def test_the_launcher_of_a_private_class_is_not_installed(queue):
    job = queue.makejob(["true"])
    queue.launch(job)
    told = manage.stop(job.id, force=True)
    assert (told.state, told.reason) == (Status.Failed, "its launcher _queue is not installed")


def test_other_launchers_take_no_callable(queue):
    for arguments in ((), (1,)):
        with pytest.raises(InputError, match=r"launchers\._queue cannot send the Python object"):
            queue.launch(print, *arguments)
    with pytest.raises(InputError, match="Only a function takes arguments"):
        queue.launch(["true"], 1)


def made(name="job", status=None, **facts):
    """Make a record as a launcher does; with `status`, also what its runner would have written."""
    described = {"owner": None, "detached": True, "host": "127.0.0.1", "grace": 1.0, **facts}
    new = recording.create(Command((Step(["true"]),)), name=name, launcher="empty", env={}, **described)
    if status:
        base = {"node": os.uname().nodename, "started": time.time(), "runner_pid": None, "runner_created": None}
        runner.write_json(str(new.folder / "status.json"), {**base, **status})
    return new


def test_a_record_is_private_and_whole(lazyllm_home):
    command = Command((Step(["true"]),), secrets={"K": "v"}, files={"a.json": "{}"}, env={"A": "mine"})
    new = recording.create(command, name="n", launcher="empty", env={"A": "launcher's", "B": "b"})
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
        recording.create(Command((Step(["true"]),), files={name: ""}), name="n", launcher="empty", env={})
    assert not (lazyllm_home / "jobs").exists()


def test_secrets_stay_out_of_errors():
    with pytest.raises(InputError) as caught:
        recording.create(Command((Step(["true"]),), secrets={"K": "hush\0"}), name="n", launcher="empty", env={})
    assert "hush" not in str(caught.value)


def test_find():
    one, two = made("one"), made("two", {"state": "Done", "pid": 123456789})
    three = made("one", {"state": "Done"})
    assert manage.find(one.id).id == one.id and manage.find(two.id[:6]).id == two.id
    assert manage.find("two").id == two.id and manage.find(123456789).id == two.id
    assert manage.find("one").id == one.id, "the one that has not ended"
    assert three.id != one.id
    for wrong in ("nothing", "../jobs", ".", "/"):
        with pytest.raises(InputError, match=rf"There is no job.*Known: .*{one.id}"):
            manage.find(wrong)
    with pytest.raises(InputError, match="named by its id"):
        manage.find(" ")
    with pytest.raises(InputError, match="Did you mean 'two'"):
        manage.find("twoo")


def test_servers_that_others_reach_get_a_key(queue, monkeypatch):
    served = Command((Step(("queued-server", Ref("port", "port"))),), ports={"port": None}, service=Service())
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
    assert guarded(replace(served, secrets={"LAZYLLM_API_KEY": ""}), None).secrets == {"LAZYLLM_API_KEY": "of-the-user"}
    assert guarded(served, "127.0.0.2").secrets == {} and guarded(Command((Step(("true",)),)), None).secrets == {}


def test_the_key_of_a_url():
    new = made("s", {"state": "Running", "address": {"host": "127.0.0.1", "ports": {"port": 23457}}})
    told = {"runner_pid": os.getpid(), "runner_created": runner.token(os.getpid())}
    runner.write_json(str(new.folder / "status.json"), {**new.status(), **told})
    data = {**new.data, "service": {"port": "port", "path": "/v1"}, "secrets": ["LAZYLLM_API_KEY"]}
    runner.write_json(str(new.folder / "job.json"), data)
    assert manage.key_for("http://127.0.0.1:23457/v1") is None
    runner.write_json(str(new.folder / "secrets.json"), {"LAZYLLM_API_KEY": "k"})
    for name in ("127.0.0.1", "localhost", "LOCALHOST"):
        assert manage.key_for(f"http://{name}:23457/v1/") == "k"
    for other in ("http://127.0.0.1:23458/v1", "http://127.0.0.9:23457/v1", "http://no.such.host.invalid:23457/v1"):
        assert manage.key_for(other) is None
    runner.write_json(str(new.folder / "job.json"), {**data, "host": "0.0.0.0"})
    assert manage.key_for("http://127.0.0.9:23457/v1") == "k"
    runner.write_json(str(new.folder / "status.json"), {**new.status(), "runner_pid": None, "runner_created": None})
    assert manage.key_for("http://127.0.0.1:23457/v1") is None  # whoever listens there by now is not to get it


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
    made("begins", owner=recording.owner(), detached=False)
    assert manage.find("begins").state is Status.TBSubmitted and len(manage.ps(running=True)) == 1


def test_a_home_that_is_no_folder(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LAZYLLM_HOME", str(tmp_path / "file"))
    for look in (manage.ps, manage.reap, lambda: manage.find("x")):
        with pytest.raises(ConfigError, match="cannot be listed: Not a directory") as caught:
            look()
    assert "LAZYLLM_HOME" in caught.value.hint and manage.key_for("http://127.0.0.1:1/v1") is None


def test_a_listing_beside_a_job_that_is_being_made(lazyllm_home, monkeypatch):
    (lazyllm_home / "jobs").mkdir()
    monkeypatch.setattr(type(lazyllm_home), "glob", lambda self, pattern: [self / ".new-gone"])
    assert manage.ps() == [] and manage.prune() == 0


def test_what_somebody_else_removes_meanwhile(tmp_path, monkeypatch):
    monkeypatch.setattr(os.path, "lexists", lambda path: True)
    runner.remove(str(tmp_path / "gone"))
    runner.remove(str(tmp_path / "gone" / "x"))


def full(*args):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    runner.write_json(str(tmp_path / "status.json"), {"a": 1})
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        runner.write_json(str(tmp_path / "status.json"), {"a": 2})
    assert [path.read_text() for path in tmp_path.iterdir()] == ['{"a": 1}']


def test_a_listing_on_a_full_disk(monkeypatch):
    made("lost", owner={"pid": 999999999, "created": "x"}, detached=False)
    monkeypatch.setattr(record, "write_json", full)
    assert [(job.state, job.reason) for job in manage.ps()] == [(Status.Failed, "never started")]


def test_an_empty_home():
    assert manage.ps() == [] and manage.reap() == [] and manage.prune() == 0


def test_the_output_can_be_kept_elsewhere(tmp_path):
    wished = tmp_path / "new folder" / "server.log"
    made = recording.create(Command.of(["true"], log=str(wished)), name="n", launcher="empty", env={})
    assert made.log.resolve() == wished
    wished.write_text("a line\n")
    assert made.log.read_text() == "a line\n"


def test_a_log_is_named_from_the_jobs_folder(tmp_path):
    (tmp_path / "work").mkdir()
    command = Command.of(["true"], log="logs/x.log", cwd=str(tmp_path / "work"))
    made = recording.create(command, name="n", launcher="empty", env={})
    assert made.log.resolve() == tmp_path / "work" / "logs" / "x.log" and made.log.exists()
    assert made.data["log"] == str(made.log.resolve())


@pytest.mark.parametrize("where, why", [("file/x.log", "Not a dir"), ("", "Is a directory"), ("pipe", "No such dev")])
def test_a_log_that_cannot_be_written(tmp_path, lazyllm_home, where, why):
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LauncherError, match=f"output cannot be written to {tmp_path / where}: {why}") as caught:
        recording.create(Command.of(["true"], log=str(tmp_path / where)), name="n", launcher="empty", env={})
    assert "LAZYLLM_HOME" not in str(caught.value) and list((lazyllm_home / "jobs").iterdir()) == []
