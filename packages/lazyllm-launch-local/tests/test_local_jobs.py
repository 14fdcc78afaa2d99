"""launchers.empty at work: jobs, their ends, their errors."""

import json
import logging
import os
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from lazyllm.configs import config
from lazyllm.errors import InputError, JobError, JobTimeoutError, LauncherError
from lazyllm.jobs import manage, runner
from lazyllm.jobs.command import Command, Ref, Service, Step
from lazyllm.jobs.status import Status
from lazyllm_launch_local.launcher import EmptyLauncher

SERVER = [sys.executable, "-m", "http.server", Ref("port", "port"), "--bind", Ref("host")]


def server(**fields) -> Command:
    return Command((Step(SERVER, "serve"),), ports={"port": None}, service=Service(health="/"), **fields)


@pytest.fixture
def launcher():
    return EmptyLauncher(ngpus=0)


@pytest.fixture
def lines(caplog):
    """What the log shows, as one text."""
    logger = logging.getLogger("lazyllm")
    logger.addHandler(caplog.handler)
    yield lambda: caplog.text
    logger.removeHandler(caplog.handler)


def test_launch_waits_and_returns_the_result(launcher, lines, tmp_path):
    job = launcher.makejob(Command(Step(["echo", "hello"]), result=str(tmp_path)))
    assert job.status is Status.TBSubmitted
    assert launcher.launch(job) == str(tmp_path)
    assert job.status is Status.Done and job.output() == "hello\n" and job.ip == "127.0.0.1"
    assert "Command: echo hello" in lines() and f"PID {job.jobid}" in lines() and "echo: hello" in lines()


def test_shell_text_is_shown_as_written(launcher, lines):
    launcher.launch("echo 1; echo '2 3'")
    assert "Command: echo 1; echo '2 3'\n" in lines() and ": 2 3\n" in lines()


def test_without_sync_launch_returns_at_once():
    launcher = EmptyLauncher(ngpus=0, sync=False)
    job = launcher.makejob(["sleep", "60"])
    begun = time.monotonic()
    launcher.launch(job)
    assert time.monotonic() - begun < 5 and job.status is Status.Running
    pid = job.jobid
    job.stop()
    assert job.status is Status.Cancelled and runner.token(pid) is None
    job.stop()


def test_a_failed_job_raises_with_its_last_lines(launcher):
    with pytest.raises(JobError) as caught:
        launcher.launch("for i in $(seq 100); do echo line $i; done; exit 5")
    error = caught.value
    assert error.exit_code == 5 and "failed with exit code 5" in str(error)
    assert error.output.splitlines() == [f"line {i}" for i in range(81, 101)]


def test_the_error_comes_at_once(launcher):
    job = launcher.makejob(["sh", "-c", "date +%s.%N; exit 1"])
    with pytest.raises(JobError):
        launcher.launch(job)
    assert time.time() - float(job.output()) < 2  # benchmarks/local_job.py measures it


def test_errors_stay_short(launcher):
    with pytest.raises(JobError) as caught:
        launcher.launch([sys.executable, "-c", "print('x' * 10_000_000); raise SystemExit(2)"])
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize(
    "command, words",
    [
        (["no-such-program"], "no-such-program"),
        (["/etc/passwd"], "Permission denied"),
        (Command((Step(["true"]),), cwd="/no/such"), "/no/such"),
        ([""], "''"),
    ],
)
def test_what_cannot_be_started_fails_at_the_start(launcher, command, words):
    with pytest.raises(JobError, match=words) as caught:
        launcher.makejob(command).start()
    assert caught.value.hint


def test_a_home_that_cannot_be_written(launcher, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LAZYLLM_HOME", str(tmp_path / "file"))
    with pytest.raises(LauncherError, match="cannot be recorded") as caught:
        launcher.launch(["touch", str(tmp_path / "never")])
    assert "LAZYLLM_HOME" in caught.value.hint and not (tmp_path / "never").exists()


def test_any_home_and_any_argument(launcher, tmp_path, monkeypatch):
    monkeypatch.setenv("LAZYLLM_HOME", str(tmp_path / "h o'm\"e\n$(x)é😀"))
    hostile = ["", " ", "'\"", "$(id)", ";", "a\nb", "😀", os.fsdecode(b"\xff\xfe")]
    show = "import os, sys; os.write(1, b'\\0'.join(map(os.fsencode, sys.argv[1:])))"
    job = launcher.makejob([sys.executable, "-c", show, *hostile])
    launcher.launch(job)
    assert job.log.read_bytes() == b"\0".join(map(os.fsencode, hostile))


@pytest.mark.parametrize("argument", ["\ud800", "a\0b"], ids=["surrogate", "NUL"])
def test_impossible_arguments_are_refused(launcher, argument):
    with pytest.raises(InputError, match="NUL"):
        launcher.launch(["echo", argument])


def test_service(launcher):
    job = EmptyLauncher(ngpus=0, sync=False).makejob(server())
    job.start()
    job.wait_ready(30)
    assert job.url == job.return_value == f"http://127.0.0.1:{job.details()['address']['ports']['port']}/v1"
    assert manage.find(job.url).id == manage.find(job.jobid).id == manage.find(job.id[:5]).id == job.id
    port = job.details()["address"]["ports"]["port"]
    job.stop()
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))
    second = launcher.makejob(Command((Step(SERVER),), ports={"port": port}, service=Service(health="/")))
    second.start()
    second.wait_ready(30)
    second.stop()


def test_a_taken_port_fails_at_the_start(launcher):
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        with pytest.raises(JobError, match=f"port {port} is taken on 127.0.0.1 .by PID {os.getpid()} "):
            launcher.makejob(Command((Step(SERVER),), ports={"port": port}, service=Service())).start()


def test_a_server_that_dies_before_it_is_ready(launcher):
    job = launcher.makejob(Command((Step(["sh", "-c", "echo why; exit 4"]),), ports={"port": None}, service=Service()))
    job.start()
    with pytest.raises(JobError, match="exit code 4") as caught:
        job.wait_ready()
    assert caught.value.output == "why"


def test_timeouts_leave_the_job_alone(launcher):
    job = launcher.makejob(["sleep", "60"])
    job.start()
    with pytest.raises(JobTimeoutError, match="goes on"):
        job.wait(timeout=0.05)
    with pytest.raises(TimeoutError):
        job.wait(timeout=0)
    assert job.status is Status.Running
    job.stop()
    assert job.wait() is Status.Cancelled


def test_stopped_from_elsewhere_is_an_error_for_who_waits(launcher):
    job = launcher.makejob(["sleep", "60"])
    job.start()
    threading.Timer(0.2, manage.stop, [job.id]).start()
    with pytest.raises(JobError, match="stopped"):
        job.wait()


def test_a_result_that_was_not_made(launcher, tmp_path):
    missing = tmp_path / "merged"
    with pytest.raises(JobError, match=f"step 'merge' ended well but did not make {missing}"):
        launcher.launch(Command((Step(["true"], "train"), Step(["true"], "merge")), result=str(missing)))
    assert launcher.launch(Command(Step(["touch", str(missing)]), result=str(missing))) == str(missing)
    assert launcher.launch(Command(Step(["true"]), result="no path")) == "no path"


def test_an_ended_server_shows_its_reason(launcher, capsys):
    from lazyllm.cli import run

    job = launcher.makejob(server(title="serve x"))
    job.start()
    job.wait_ready(30)
    assert manage.ps()[0].url == job.url
    url = job.url
    os.kill(int(job.jobid), 9)
    with pytest.raises(JobError):
        job.wait(10)
    capsys.readouterr()
    assert run(["ps", "-a"]) == 0
    told = capsys.readouterr().out
    assert "step 'serve' was ended by SIGKILL" in told and "http" not in told
    assert manage.ps()[0].url is None and manage.find(url).id == job.id


def test_lines_have_a_short_name_and_one_time(launcher, lines):
    text = "Say 12:00:01 INFO ready"
    first = launcher.makejob(
        Command(Step(["sh", "-c", f"echo {text[4:]}; exec sleep 60"]), title="serve a model; quickly")
    )
    second = launcher.makejob(Command(Step(["echo", "12:00:01 WARNING hot"]), title="serve another"))
    third = launcher.makejob(Command(Step(["echo", "x"]), title="averyverylongfirstword"))
    first.start()
    launcher.launch(second)
    launcher.launch(third)
    first.stop()
    told = lines()
    assert "serve: ready\n" in told and f"{second.id}: WARNING hot\n" in told and f"{third.id}: x\n" in told
    assert first.output() == "12:00:01 INFO ready\n"


def test_hooks_get_each_line(launcher):
    job = launcher.makejob("printf 'a\\nb\\rc\\nlast'")
    seen = []
    job.output_hooks += [seen.append, lambda line: 1 / 0]
    launcher.launch(job)
    assert seen == ["a", "c", "last"]


def test_display_mode_starts_nothing(launcher, lines, lazyllm_home):
    with config.override(mode="display"):
        job = EmptyLauncher(sync=False).makejob(server())
        job.start()
        assert job.url == job.return_value == "http://{ip}:{port}/v1" and job.wait_ready() is Status.TBSubmitted
        assert launcher.launch(Command((Step(["touch", "x"]),), result="there")) == "there"
        assert launcher.launch(lambda: 1 / 0) is None
    assert "http.server <port> --bind <host>" in lines() and not (lazyllm_home / "jobs").exists()


def test_secrets_are_nowhere(launcher, lines, lazyllm_home):
    command = Command((Step(["sh", "-c", "echo ${#TOKEN}"]),), secrets={"TOKEN": "hush-hush"})
    job = launcher.makejob(command)
    launcher.launch(job)
    assert job.output() == "9\n" and "hush" not in lines() and "hush" not in repr(job) + command.show()
    files = [path for path in lazyllm_home.rglob("*") if path.is_file()]
    assert files and not any(b"hush" in path.read_bytes() for path in files)
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {"0o600"}
    assert job.record.folder.stat().st_mode & 0o777 == 0o700


def test_a_job_that_was_started(launcher):
    job = launcher.makejob(["true"])
    with pytest.raises(JobError, match="not been started"):
        job.wait()
    job.start()
    with pytest.raises(JobError, match="started before"):
        job.start()
    assert job.wait() is Status.Done
    with pytest.raises(JobError, match="serves nothing"):
        _ = job.url


def test_no_descriptor_is_lost(launcher):
    launcher.launch(["true"])
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        launcher.launch(["true"])
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("wrong", [{"ngpus": -1}, {"ngpus": True}, {"ngpus": "2"}, {"sync": 1}, {"subprocess": "yes"}])
def test_constructor_refuses(wrong):
    with pytest.raises(InputError):
        EmptyLauncher(**wrong)
    with pytest.raises(InputError, match=r"launchers.empty has no argument 'ngpu'. Did you mean 'ngpus'\?"):
        EmptyLauncher(ngpu=1)
    with pytest.raises(TypeError, match="It takes: subprocess, ngpus, sync"):
        EmptyLauncher(False, None, True, 1)


def test_found_by_name():
    from lazyllm.registry import find_group

    assert find_group("launchers").empty is EmptyLauncher and EmptyLauncher.short_name() == "empty"


@pytest.mark.faults
def test_fifty_at_once(launcher):
    jobs = [launcher.makejob(f"echo {n}; sleep 0.5", name=f"job {n}") for n in range(50)]
    threads = [threading.Thread(target=job.start) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [job.wait(120) for job in jobs] == [Status.Done] * 50
    assert sorted(int(job.output()) for job in jobs) == list(range(50))
    assert len(manage.ps()) == 50


@pytest.mark.faults
@pytest.mark.parametrize("text", ["'x' * 99 + '\\n'", "'x' * 100"], ids=["lines", "one line"])
def test_100_mb_of_output(launcher, text):
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    job = launcher.makejob(
        [sys.executable, "-c", f"import sys\nfor _ in range(1000): sys.stdout.write(({text}) * 1000)"]
    )
    sizes = []
    job.output_hooks.append(lambda line: sizes.append(len(line)) if len(sizes) < 3000 else None)
    launcher.launch(job)
    assert job.log.stat().st_size == 100_000_000 and max(sizes) <= 1 << 16
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_record_describes_the_job(launcher):
    job = launcher.makejob(Command((Step(["true"], "one"),), env={"A": "1"}, title="A title"))
    launcher.launch(job)
    data = json.loads((job.record.folder / "job.json").read_text())
    assert (data["name"], data["launcher"], data["steps"]) == ("A title", "empty", [{"name": "one", "argv": ["true"]}])
    assert data["owner"]["pid"] == os.getpid() and data["detached"] is False and data["env"] == {"A": "1"}


def test_windows_is_refused_in_words(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(LauncherError, match="Linux or macOS"):
        EmptyLauncher()
