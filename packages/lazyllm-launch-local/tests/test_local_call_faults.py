"""Calls in a child process that go wrong: none is waited for in vain, and what went wrong is told."""

import os
import signal
import subprocess
import sys
import threading
import time
from enum import IntEnum, StrEnum

import pytest

from lazyllm.errors import JobError, LauncherError
from lazyllm.jobs.status import Status
from lazyllm_launch_local.launcher import EmptyLauncher

SECONDS = 20


class Picky(Exception):
    def __init__(self, text):
        if not text.startswith("code="):
            raise ValueError("bad text")
        super().__init__(text.removeprefix("code="))


class Colour(StrEnum):
    RED = "red"


class Number(IntEnum):
    SEVEN = 7


class Unspeakable:
    def __repr__(self):
        raise RuntimeError("no words")


def outcome(function):
    """Return what the call raised, or its result."""
    job = EmptyLauncher(subprocess=True, sync=False, ngpus=0).makejob(function)
    job.start()
    try:
        job.wait(SECONDS)
    except BaseException as error:
        assert job.status is Status.Failed
        return error
    return job.return_value


def test_an_exception_that_cannot_be_made_again():
    def fail():
        raise Picky("code=42")

    error = outcome(fail)
    assert type(error) is JobError and "Picky: 42" in str(error)


def test_a_child_killed_while_it_hands_back():
    def fail():
        real = os.fdopen

        def broken(number, *args):
            os.write(number, b"\xa9\x02\xfa\x06result")
            os.kill(os.getpid(), signal.SIGKILL)
            return real(number, *args)

        os.fdopen = broken

    assert "ended by SIGKILL before it returned" in str(outcome(fail))


@pytest.mark.parametrize("begin", ["sys.stdout.close()", "sys.stdout = None", "print('x'); os.close(1)"])
def test_a_stdout_that_cannot_be_flushed(begin, monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    program = f"""if True:
        import os, sys
        from lazyllm_launch_local.launcher import EmptyLauncher
        {begin}
        value = EmptyLauncher(subprocess=True, ngpus=0).launch(int, 5)
        os.write(2, b"value %d" % value)
        os._exit(0)
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=False)
    assert b"value 5" in done.stderr and done.returncode == 0


def test_a_process_that_the_call_forked_holds_the_pipe():
    def fail():
        if not os.fork():
            os.setsid()
            time.sleep(60)
            os._exit(0)
        os._exit(7)

    begun = time.monotonic()
    assert "exit code 7" in str(outcome(fail)) and time.monotonic() - begun < SECONDS


def test_a_program_that_ignores_its_childrens_end():
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert outcome(lambda: 5) == 5
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_thread_that_cannot_be_started(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    job = EmptyLauncher(subprocess=True, ngpus=0).makejob(print)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        job.start()
    with pytest.raises(LauncherError, match="can't start new thread"):
        job.wait(SECONDS)
    assert job.status is Status.Failed


@pytest.mark.parametrize(
    "argument, text",
    [(Colour.RED, "red"), (Number.SEVEN, "7"), ((1, 2), "(1, 2)"), (Unspeakable(), "<Unspeakable>"), (b"b", "b'b'")],
)
def test_the_message_of_an_exception_is_kept(argument, text):
    def fail():
        raise ValueError(argument)

    error = outcome(fail)
    assert type(error) is ValueError and str(error) == text


def test_numpys_numbers_in_an_exception():
    numpy = pytest.importorskip("numpy")

    def fail():
        raise ValueError("loss", numpy.float64(1.5))

    assert outcome(fail).args == ("loss", 1.5)


@pytest.mark.parametrize(
    "value, name",
    [
        (bytearray(b"b"), "bytearray"),
        ({"a": [(memoryview(b"b"),)]}, "memoryview"),
        ([1, Colour.RED], "Colour"),
        ({Number.SEVEN: 1}, "Number"),
        ((lambda: 0).__code__, "code"),
        ([...], "ellipsis"),
    ],
)
def test_what_is_not_plain_is_refused(value, name):
    error = outcome(lambda: value)
    assert type(error) is JobError and f"A {name} cannot be handed back by a child process, only plain" in str(error)


def test_numpys_results_are_refused():
    numpy = pytest.importorskip("numpy")
    for value in (numpy.float64(1.5), {"x": [numpy.float64(1.5)]}, numpy.zeros(2)):
        assert "cannot be handed back" in str(outcome(lambda value=value: value))


def test_plain_results():
    deep = []
    for _ in range(100):
        deep = [deep, {"k": (1, 2.5, 1j, None, True, b"b", {3}, frozenset("f"))}]
    assert outcome(lambda: deep) == deep
    around = []
    around.append(around)
    back = outcome(lambda: around)
    assert back[0] is back


def test_too_deep():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    assert "cannot be handed back by a child process: object too deeply nested" in str(outcome(lambda: deep))
