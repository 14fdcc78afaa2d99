"""SIGTERM, SIGHUP and Ctrl-C: what a command started ends within its grace, the second signal kills it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lazyllm.jobs import manage

PROGRAM = '''
import os, subprocess, sys
from lazyllm.cli import main
from lazyllm.components import LazyLLMDeployBase
from lazyllm.jobs.command import Command, Ref, Service, Step
from lazyllm.jobs.launcher import LazyLLMLaunchersBase
from lazyllm.jobs.sweep import signal_runner

SERVER = """
import http.server, signal, sys, threading, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler)
def drain():
    print("draining", flush=True)
    time.sleep(float(sys.argv[3]))
    print("drained", flush=True)
    server.shutdown()
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=drain).start())
server.serve_forever()
"""

class NearLauncher(LazyLLMLaunchersBase):
    owned, host, grace = True, "127.0.0.1", 60.0
    def submit(self, job):
        env = {**os.environ, **job.runner_environment()}
        subprocess.Popen(job.runner_argv(), stdin=subprocess.DEVNULL, start_new_session=True, env=env)
    def query(self, job): ...
    def cancel(self, job, force=False):
        signal_runner(job.record.status(), force)

class DrainsDeploy(LazyLLMDeployBase):
    defaults = {"drain": 1.5}
    def cmd(self, finetuned_model=None, base_model=None):
        argv = (sys.executable, "-c", SERVER, Ref("host"), Ref("port", "port"), str(self.kw["drain"]))
        return Command((Step(argv, "serve"),), ports={"port": None}, service=Service(health="/", timeout=60))

main()
'''


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """Have programs hear signals, though nohup or a shell's background has this process, and so them, ignore some."""
    ignored = [n for n in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) == signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """A function that starts `lazyllm deploy` in the foreground, and returns once its URL is printed."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    started: list[subprocess.Popen[str]] = []

    def serve(*, before: tuple[str, ...] = (), drain: float = 1.5, **how: Any) -> subprocess.Popen[str]:
        argv = [sys.executable, str(program), "deploy", "x", "--engine", "drains", "--launcher", "near"]
        how = {"stderr": subprocess.PIPE, **how}
        argv = [*before, *argv, "--drain", str(drain)]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, **how)
        started.append(process)
        assert process.stdout and process.stdout.readline().startswith("http://127.0.0.1:")
        return process

    yield serve
    for found in manage.ps(running=True):
        manage.stop(found.id, force=True)
    for process in started:
        process.kill()
        process.communicate()


def the_job() -> tuple[str, str]:
    """Return the reason why the only job ended, and what it wrote."""
    (found,) = manage.ps(running=False)
    return found.reason, "\n".join(manage.logs(found.id))


@pytest.mark.parametrize(("number", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_a_signal_stops_the_job_within_its_grace(serve: Any, number: str, code: int) -> None:
    process = serve()
    process.send_signal(getattr(signal, number))
    _, told = process.communicate(timeout=60)
    assert process.returncode == code and "Traceback" not in told
    reason, output = the_job()
    assert reason == "stopped" and "drained" in output


def test_a_second_signal_kills_the_job(serve: Any) -> None:
    process = serve(drain=50)
    time.sleep(0.5)  # it waits for the job's end by now
    process.send_signal(signal.SIGTERM)
    end = time.monotonic() + 30
    while "draining" not in the_job()[1]:
        assert time.monotonic() < end, "the job was not asked to end"
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 143 and "Interrupted again: killing job" in told
    assert "drained" not in the_job()[1]


def test_what_nohup_ignores_stays_ignored(serve: Any) -> None:
    process = serve(before=("nohup",))
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143 and the_job()[0] == "stopped"


def test_a_terminal_that_goes_away(serve: Any) -> None:
    terminal, side = pty.openpty()
    process = serve(stderr=side, start_new_session=True)
    os.close(side)
    os.close(terminal)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 129
    assert the_job()[0] == "stopped" and "drained" in the_job()[1]
