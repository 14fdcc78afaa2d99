"""Launchers of plugins: their arguments, their faults, jobs that their queue holds, and what is left without them."""

import inspect
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from lazyllm.cli import run
from lazyllm.configs import config
from lazyllm.errors import ConfigError, InputError, JobError, LauncherError, UnknownNameError
from lazyllm.jobs import manage, record, recording, runner
from lazyllm.jobs.command import Command, Ref, Service, Step
from lazyllm.jobs.job import Job
from lazyllm.jobs.launcher import LazyLLMLaunchersBase
from lazyllm.jobs.status import Status
from lazyllm.jobs.sweep import processes_of, signal_runner
from lazyllm.launcher import RemoteLauncher, resolve_launcher


class TraylikeLauncher(LazyLLMLaunchersBase):
    """A queue whose state the test sets; what is submitted waits until `go`, and runs as nobody's child."""

    state = {}
    faults = {}
    grace = 0.5

    def __init__(self, sync=True, queue="main"):
        super().__init__(sync)
        self.queue = queue

    def _fault(self, name):
        if self.faults.get(name):
            self.faults[name] -= 1
            raise OSError(f"{name} does not answer")

    def environment(self):
        self._fault("environment")
        return {}

    def submit(self, job):
        self._fault("submit")
        self.state[f"n{job.id}"] = Status.InQueue
        return f"n{job.id}"

    def query(self, job):
        self._fault("query")
        return self.state.get(job.jobid)

    def cancel(self, job, force=False):
        self._fault("cancel")

    def release(self, job):
        self._fault("release")

    def go(self, job):
        self.state[job.jobid] = Status.Running
        detach = "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True)"
        argv, env = [sys.executable, "-c", detach, *job.runner_argv()], {**os.environ, **job.runner_environment()}
        subprocess.run(argv, stdin=subprocess.DEVNULL, env=env, check=True)


class OwnedtrayLauncher(TraylikeLauncher):
    owned = True


@pytest.fixture(autouse=True)
def fresh():
    TraylikeLauncher.state.clear()
    TraylikeLauncher.faults.clear()
    yield
    for found in manage.ps(running=True):
        manage.stop(found.id, force=True)


@pytest.fixture
def tray():
    return TraylikeLauncher(sync=False)


@pytest.fixture
def begun(tray):
    """A function that makes a job which the queue has begun."""

    def make(*argv, detach=False):
        job = tray.makejob(list(argv), detach=detach)
        tray.launch(job)
        tray.go(job)
        job.wait_ready(20)
        return job

    return make


@pytest.fixture
def orphan(tray):
    """A function that makes a record whose launcher is not installed."""

    def make(argv=("sleep", "300"), go=False):
        job = tray.makejob(list(argv))
        tray.launch(job)
        if go:
            tray.go(job)
            job.wait_ready(20)
        path = job.record.folder / "job.json"
        runner.write_json(str(path), {**json.loads(path.read_text()), "launcher": "vanished"})
        return record.Record(job.record.folder)

    return make


@pytest.fixture
def lines(caplog):
    """What the log shows, as one text."""
    logging.getLogger("lazyllm").addHandler(caplog.handler)
    yield lambda: caplog.text
    logging.getLogger("lazyllm").removeHandler(caplog.handler)


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_the_configured_launcher_gets_what_it_takes():
    with config.override(launcher="traylike"):
        made = RemoteLauncher()
        assert type(made) is TraylikeLauncher and made.sync is False and made.queue == "main"
        assert RemoteLauncher(True, "fast").queue == "fast" and RemoteLauncher(True).sync is True
        assert resolve_launcher(None, sync=True, ngpus=1).sync is True
        with pytest.raises(InputError, match="launchers.traylike has no argument 'ngpus'.*\n.*It takes: sync, queue"):
            RemoteLauncher(ngpus=1)
        with pytest.raises(InputError, match=r"no argument 'queu'. Did you mean 'queue'\?"):
            RemoteLauncher(queu="x")
    with config.override(launcher="remote"), pytest.raises(ConfigError, match="stands for whatever"):
        RemoteLauncher()
    with (
        config.override(launcher="traylik"),
        pytest.raises(UnknownNameError, match=r"'launcher', 'traylik' \(from code\): .*mean 'traylike'"),
    ):
        RemoteLauncher()


def test_a_method_is_lacking():
    class _Half(LazyLLMLaunchersBase):
        def submit(self, job): ...

        def query(self, job): ...

    with pytest.raises(LauncherError, match="lacks the method 'cancel'"):
        _Half()


@pytest.mark.parametrize("method", ["submit", "environment"])
def test_faults_at_the_start_name_the_launcher(tray, method):
    tray.faults[method] = 1
    job = tray.makejob(["true"])
    with pytest.raises(LauncherError, match=f"launchers.traylike .* job 'true': OSError: {method} does not answer"):
        job.start()
    if method == "submit":
        assert job.status is Status.Failed and "submit does not answer" in job.details()["reason"]
    else:
        assert manage.ps() == []


def test_a_query_that_fails_is_asked_again(tray, lines):
    job = tray.makejob(["true"])
    tray.launch(job)
    tray.faults.update(query=3, release=1)
    end = time.monotonic() + 20
    while tray.faults["query"] and time.monotonic() < end:
        time.sleep(0.02)
    tray.go(job)
    assert job.wait(20) is Status.Done
    assert lines().count("launchers.traylike cannot tell how job") == 1 and "Traceback" not in lines()
    tray.state[job.jobid] = "nonsense"
    assert Job.adopt(record.Record(job.record.folder)).status is Status.Done


def test_jobs_of_other_launchers_live_on(tray):
    job = tray.makejob(["true"])
    tray.launch(job)
    assert job.record.data["detached"] is True and job.record.data["owner"] is None


def test_a_job_that_waits_is_cancelled(tray):
    job = tray.makejob(["true"])
    tray.launch(job)
    job.ask_to_end()
    tray.state[job.jobid] = Status.Failed
    job.stop()
    assert job.status is Status.Cancelled and job.details()["reason"] == "stopped"
    assert job.wait(5) is Status.Cancelled


@pytest.mark.parametrize(
    "word, state, reason",
    [
        (Status.Failed, Status.Failed, "the launcher dropped it before it ran"),
        (Status.Done, Status.Failed, "the launcher dropped it before it ran"),
        (Status.Cancelled, Status.Cancelled, "cancelled under its launcher"),
    ],
)
def test_a_job_that_never_ran(tray, word, state, reason):
    job = tray.makejob(["true"])
    tray.launch(job)
    tray.state[job.jobid] = word
    with pytest.raises(JobError, match=reason):
        job.wait(20)
    assert job.status is state


def test_an_owned_job_of_a_queue():
    tray = OwnedtrayLauncher(sync=False)
    job = tray.makejob(["sh", "-c", "sleep 1; echo done"])
    tray.launch(job)
    assert job.jobid == f"n{job.id}" and job.status is Status.InQueue and job.record.data["detached"] is False
    tray.go(job)
    assert job.wait(20) is Status.Done and job.output() == "done\n"


@pytest.mark.faults
def test_an_owned_job_of_a_queue_ends_with_its_owner():
    script = f"""
import importlib.util, os, sys, time
spec = importlib.util.spec_from_file_location("launchers_of_the_test", {__file__!r})
module = importlib.util.module_from_spec(spec); sys.modules[spec.name] = module; spec.loader.exec_module(module)
tray = module.OwnedtrayLauncher(sync=False)
job = tray.makejob(["sleep", "300"]); tray.launch(job); tray.go(job); job.wait_ready(20)
print(job.details()["pid"], flush=True); time.sleep(300)
"""
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    pid = int(owner.stdout.readline())
    time.sleep(0.7)
    assert runner.token(pid)
    owner.kill()
    owner.wait()
    until(lambda: runner.token(pid) is None, 2.2)
    (found,) = record.records()
    until(lambda: found.state.ended)
    assert found.status()["reason"] == "owner died"


def test_a_second_stop_asks_again(tray, monkeypatch):
    asked = []
    monkeypatch.setattr(
        type(tray), "cancel", lambda self, job, force=False: asked.append(force) or self._fault("cancel")
    )
    job = tray.makejob(["true"])
    tray.launch(job)
    tray.faults["cancel"] = 1
    with pytest.raises(LauncherError, match="cancel does not answer"):
        job.stop()
    tray.state[job.jobid] = Status.Running  # it takes a moment
    threading.Timer(0.3, tray.state.update, [{job.jobid: Status.Failed}]).start()
    job.stop()
    assert asked == [False, False] and job.status is Status.Cancelled


def test_what_a_stop_waits_for_is_said(tray, lines, monkeypatch):
    monkeypatch.setattr("lazyllm.jobs.job.TOLD_AFTER", 0.1)
    monkeypatch.setattr("lazyllm.jobs.job.CANCELLED_WITHIN", 0.3)
    job = tray.makejob(["true"])
    tray.launch(job)
    begun = time.monotonic()
    with pytest.raises(JobError, match="does not end; its state is InQueue") as caught:
        job.stop()
    assert 2.8 < time.monotonic() - begun < 5 and "stop --force" in caught.value.hint
    assert f"Waiting up to 2.5 s for launchers.traylike to end job {job.id} (InQueue)." in lines()
    assert f"Job {job.id} (true) has not ended within 2.5 s: killing it." in lines()
    tray.state[job.jobid] = Status.Failed


def test_readiness_waits_for_no_hook(tray):
    argv = ["sh", "-c", 'echo up; sleep 0.5; exec "$0" -m http.server "$1"', sys.executable, Ref("port", "port")]
    job = tray.makejob(Command(Step(argv), ports={"port": None}, service=Service(health="/")))
    hang = threading.Event()
    job.output_hooks.append(lambda line: hang.wait(60))
    tray.launch(job)
    tray.go(job)
    job.wait_ready(20)
    hang.set()
    job.stop(force=True)


def test_of_a_flood_the_last_lines_are_shown_and_hooks_get_all(tray, lines):
    job = tray.makejob(["true"])
    seen = []
    job.output_hooks.append(seen.append)
    tray.launch(job)
    grown = job.log.with_name("grown.log")
    grown.write_text("".join(f"{n}\n" for n in range(100_000)))
    grown.replace(job.log)
    tray.state[job.jobid] = Status.Failed
    with pytest.raises(JobError):
        job.wait(20)
    assert seen == [str(n) for n in range(100_000)]
    told = lines()
    assert (
        "more than can be shown; all of it is in" in told and told.endswith(": 99999\n") and told.count("\n") < 20_000
    )


def test_a_detached_job_outlives_the_job_around_it(tray, tmp_path):
    """The inner job's runner gets what `runner_environment` says, and nothing else from its launcher."""
    inner = tray.makejob(["sh", "-c", "until [ -e go ]; do sleep 0.05; done"])
    tray.launch(inner)
    assert inner.runner_environment() == {"LAZYLLM_JOB_ID": inner.id, "LAZYLLM_JOB_DETACHED": inner.id}
    variables = [f"{name}={value}" for name, value in inner.runner_environment().items()]
    start = ["env", *variables, *inner.runner_argv()]
    detach = f"import subprocess, time; subprocess.Popen({start}, start_new_session=True); time.sleep(0.5)"
    outer = tray.makejob([sys.executable, "-c", detach])
    tray.launch(outer)
    tray.go(outer)
    assert outer.wait(20) is Status.Done and inner.wait_ready(20) is Status.InQueue
    assert inner.record.state is Status.Running
    inner.stop(force=True)
    owned = OwnedtrayLauncher(sync=False).makejob(["true"])
    owned.launcher.launch(owned)
    assert owned.runner_environment() == {}
    tray.state[owned.jobid] = Status.Failed


def test_a_dead_queue_with_the_runner_here(begun):
    job = begun("sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
    since = time.monotonic()
    assert manage.stop(job.id, force=True).state is Status.Cancelled
    assert time.monotonic() - since < 3


def test_a_listing_asks_a_launcher_once_about_all(tray, monkeypatch):
    jobs = [tray.makejob(["sleep", "300"]) for _ in range(3)]
    expected, made = [], []
    init = TraylikeLauncher.__init__
    monkeypatch.setattr(TraylikeLauncher, "expect", lambda _, found: expected.append({job.id for job in found}))
    monkeypatch.setattr(TraylikeLauncher, "__init__", lambda self: made.append(init(self)))
    for job in jobs:
        job.start()
    tray.state[jobs[1].jobid] = Status.Failed
    tray.state[jobs[2].jobid] = Status.Pending
    told = {job.id: job for job in manage.ps()}
    assert expected == [{job.id for job in jobs}] and len(made) == 1
    assert [told[job.id].state for job in jobs] == [Status.InQueue, Status.Failed, Status.Pending]
    assert told[jobs[1].id].reason == "the launcher dropped it before it ran"  # the same listing says why


def test_a_queue_that_cannot_cancel(tray):
    job = tray.makejob(["sleep", "300"])
    tray.launch(job)
    tray.faults["cancel"] = 9
    with pytest.raises(LauncherError, match="could not cancel job .* cancel does not answer"):
        manage.stop(job.id)
    assert job.status is Status.InQueue and not job.record.stopping
    told = manage.stop(job.id, force=True)
    assert told.state is Status.Cancelled and told.reason == "stopped before it ran; its launcher did not confirm it"
    late = subprocess.run(job.runner_argv(), timeout=20)  # it comes after all, and starts nothing
    assert late.returncode == 1 and not job.record.status().get("runner_pid")
    assert job.record.state is Status.Cancelled


def test_a_running_job_elsewhere_whose_queue_cannot_cancel(tray):
    job = tray.makejob(["sleep", "300"])
    tray.launch(job)
    told = {"state": "Running", "node": "elsewhere", "runner_pid": 1, "runner_created": "x", "pid": 1}
    runner.write_json(str(job.record.folder / "status.json"), told)
    tray.faults["cancel"] = 9
    with pytest.raises(LauncherError, match="cancel does not answer"):
        manage.stop(job.id)
    told = manage.stop(job.id, force=True)
    assert told.state is Status.Failed and "given up" in told.reason and "cancel does not answer" in told.reason


def test_a_far_runner_reads_the_note_though_its_queue_cannot_cancel(begun, tray, lines, monkeypatch):
    monkeypatch.setattr("lazyllm.jobs.job.signal_runner", lambda *_: False)  # no signal reaches it
    job = begun("sleep", "300")
    tray.faults["cancel"] = 1
    told = manage.stop(job.id)
    assert (told.state, told.reason) == (Status.Cancelled, "stopped") and not tray.faults["cancel"]
    assert "cancel does not answer" in lines() and "its own runner" not in told.reason


def test_a_running_job_whose_queue_cannot_cancel(begun, tray):
    job = begun("sleep", "300")
    tray.faults["cancel"] = 9
    assert manage.stop(job.id).state is Status.Cancelled


def test_stop_without_the_launcher(orphan):
    runs, waits = orphan(go=True), orphan()
    assert manage.stop(runs.id).state is Status.Cancelled
    assert runner.token(runs.status()["pid"]) is None
    told = manage.stop(waits.id)
    assert (told.state, told.reason) == (Status.Failed, "its launcher vanished is not installed")


def test_a_followed_output_ends_where_only_the_scheduler_knows_the_end(tray):
    job = tray.makejob(["true"])
    tray.launch(job)
    ender = threading.Timer(0.5, tray.state.update, [{job.jobid: Status.Failed}])
    ender.start()
    assert list(manage.logs(job.id, follow=True)) == [] and manage.info(job.record).state is Status.Failed


def test_reap_ends_what_an_ended_job_of_a_scheduler_left_on_this_machine(begun, tray):
    job = begun("sh", "-c", "setsid sleep 300 & sleep 300")
    told = job.details()
    os.kill(told["runner_pid"], signal.SIGKILL)
    path = job.record.folder / "status.json"
    runner.write_json(str(path), {**told, "node": "tray/n1"})  # that it is here is only the scheduler's to know
    assert manage.reap() == []  # which says that it runs
    tray.state[job.jobid] = Status.Failed
    (report,) = manage.reap()
    assert (report.id, report.left) == (job.id, []) and report.pids and not processes_of(job.record, {})


def test_reap_ends_a_job_whose_record_was_removed(begun):
    job = begun("sleep", "300", detach=True)
    told = job.details()
    runner.remove(str(job.record.folder))
    (report,) = manage.reap()
    assert (report.id, report.reason, report.left) == (job.id, "its record was removed", [])
    assert {told["runner_pid"], told["pid"]} <= {*report.pids} and not processes_of(job.record, {})


def test_a_runner_that_was_stopped_hears_of_the_end_all_the_same(begun):
    job = begun("sleep", "300")
    os.kill(job.details()["runner_pid"], signal.SIGSTOP)
    assert signal_runner(job.details(), force=False)
    deadline = time.monotonic() + 20
    while not job.status.ended and time.monotonic() < deadline:
        time.sleep(0.02)
    assert job.status is Status.Cancelled


def test_reap_without_the_launcher(orphan):
    runs, waits = orphan(go=True), orphan()
    (report,) = manage.reap()
    assert (report.id, report.reason) == (waits.id, "its launcher vanished is not installed")
    assert manage.find(runs.id).state is Status.Running


def test_a_job_elsewhere_without_the_launcher(orphan, capsys):
    far = orphan()
    told = {"state": "Running", "node": "elsewhere", "runner_pid": 1, "runner_created": "x", "pid": 1}
    runner.write_json(str(far.folder / "status.json"), told)
    with pytest.raises(JobError, match="cannot be reached from here") as caught:
        manage.stop(far.id)
    assert f"lazyllm stop --force {far.id}" in caught.value.hint and far.state is Status.Running
    assert run(["stop", "--force", far.id]) == 0
    assert f"{far.id}  Failed  its launcher vanished is not installed" in capsys.readouterr().out


def test_stop_all_goes_on_after_a_failure(tray, orphan, capsys):
    far = orphan()
    told = {"state": "Running", "node": "elsewhere", "runner_pid": 1, "runner_created": "x", "pid": 1}
    runner.write_json(str(far.folder / "status.json"), told)
    near = tray.makejob(["sleep", "300"])
    tray.launch(near)
    tray.go(near)
    near.wait_ready(20)
    capsys.readouterr()
    assert run(["stop", "--all", "--json"]) == 1
    first, second = json.loads(capsys.readouterr().out)
    assert first["id"] == far.id and "cannot be reached" in first["error"]
    assert second["id"] == near.id and second["state"] == "Cancelled"
    assert run(["stop", "--all"]) == 1
    assert "error:" in capsys.readouterr().err
    assert run(["stop", "--all", "--force"]) == 0


@pytest.mark.parametrize(
    "argv, name",
    [
        (["/usr/bin/python3.11", "-u", "-m", "my.module", "x"], "my.module"),
        (["python", "-X", "dev", "-W", "error", "/a/b/train.py", "-m", "x"], "train.py"),
        (["python3", "-Im", "json.tool"], "json.tool"),
        (["python3", "-c", "pass", "x.py"], "python3"),
        (["python3"], "python3"),
        (["pythonic", "-m", "x"], "pythonic"),
        (["/bin/echo", "x"], "echo"),
    ],
)
def test_names(tray, argv, name):
    assert tray.makejob(argv).name == name


def test_a_single_step_and_what_is_none():
    assert Command(Step(["true"])).steps == (Step(["true"]),)
    for wrong in ("true", ["true"], 3, [["true"]]):
        with pytest.raises(InputError, match="steps are Step objects"):
            Command(wrong)
    with pytest.raises(InputError, match="not one string"):
        Step("echo hello")


def test_a_command_for_programs():
    steps = (Step(["a b", Ref("port", "port")]), Step(["c", os.fsdecode(b"\xff")]))
    command = Command(steps, ports={"port": None}, env={"A": "1"}, secrets={"K": "hush"}, result="/r")
    found = command.describe()
    assert found["argv"] == [["a b", "<port>"], ["c", "\udcff"]] and found["ports"] == {"port": None}
    assert found["command"] == "A=1 'a b' <port>\nA=1 c '\\udcff'" and "hush" not in json.dumps(found)


def test_signals_reach_only_this_machine():
    from lazyllm.jobs.sweep import signal_runner

    me = {"node": "elsewhere", "runner_pid": os.getpid(), "runner_created": runner.token(os.getpid())}
    assert signal_runner(me, force=True) is False
    assert signal_runner({"node": os.uname().nodename}, force=True) is False
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("name", [5, b"x", ["a"]])
def test_a_jobs_name_is_text(name, lazyllm_home):
    with pytest.raises(InputError, match=r"name=.* is no text"):
        TraylikeLauncher().makejob(["true"], name=name)
    assert not (lazyllm_home / "jobs").exists()


def test_a_launcher_launches_its_own_jobs_only():
    job = TraylikeLauncher().makejob(["true"])
    other = type("OtherTrayLauncher", (TraylikeLauncher,), {})()
    with pytest.raises(InputError, match=r"made by launchers.traylike; launchers.othertray launches its own jobs only"):
        other.launch(job)
    assert job.record is None


def test_a_command_may_need_a_longer_grace():
    for grace, kept in ((0.0, 0.5), (9.0, 9.0)):
        job = TraylikeLauncher().makejob(Command((Step(["true"]),), grace=grace))
        job.start()
        assert job.record.data["grace"] == kept
        job.record.finish(Status.Cancelled, "test")


def test_a_pipe_in_a_records_place_holds_nobody_up(lazyllm_home):
    folder = lazyllm_home / "jobs" / "zz"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "job.json")
    assert manage.ps() == [] and manage.reap() == []


def test_an_unknown_jobs_message_stays_short(lazyllm_home):
    for n in range(100):
        made = recording.create(Command((Step(["true"]),)), name=f"job {n}", launcher="none", env={})
        made.finish(Status.Done, "test")
    with pytest.raises(InputError, match=r"There is no job 'quite another'\. No job runs\."):
        manage.find("quite another")


def test_the_signature_of_remote_tells_its_defaults():
    shown = str(inspect.signature(RemoteLauncher))
    assert "sync: bool = False" in shown or "sync: 'bool' = False" in shown
