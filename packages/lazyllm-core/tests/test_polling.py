"""What launchers of schedulers share: asking, being answered, and running programs."""

import json
import os
import sys
import time

import pytest

from lazyllm.configs import is_secret_variable
from lazyllm.errors import LauncherError
from lazyllm.jobs import polling, runner, tools
from lazyllm.jobs.keys import is_private
from lazyllm.jobs.polling import Poller, last_known, said_since
from lazyllm.jobs.record import Record
from lazyllm.jobs.status import Status


class Counting(Poller):
    quick = 0.05

    def __init__(self, everything=False):
        super().__init__()
        self.everything = everything
        self.asked = []
        self.fault = None

    def query(self, jobids):
        self.asked.append(set(jobids))
        if self.fault:
            raise self.fault

    def seen(self, jobid):
        self.refresh(jobid)
        return len(self.asked)


def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@pytest.mark.parametrize("everything", [False, True])
def test_an_answer_is_fresh_for_a_moment(everything, monkeypatch):
    monkeypatch.setattr(polling, "FRESH", 60.0)
    poller = Counting(everything)
    assert [poller.seen("a"), poller.seen("a")] == [1, 1]
    assert poller.seen("b") == (1 if everything else 2)
    monkeypatch.setattr(polling, "FRESH", poller.cost)
    time.sleep(poller.cost + 0.01)
    assert poller.seen("a") == (2 if everything else 3)


def test_an_idle_thread_makes_no_answer_fresh():
    poller = Counting(everything=True)
    poller.follow("a")
    until(lambda: poller.asked)
    poller.leave("a")
    time.sleep(0.6)  # the thread looks on, and asks nothing
    asked = len(poller.asked)
    assert poller.seen("b") == asked + 1


def test_many_jobs_are_one_question():
    poller = Counting()
    for name in "abc":
        poller.follow(name)
    until(lambda: {"a", "b", "c"} in poller.asked)
    assert all(len(asked) <= 3 for asked in poller.asked)


def test_what_is_expected_is_one_question():
    poller = Counting()
    poller.expect("abc")
    assert [poller.seen(name) for name in "abc"] == [1, 1, 1] and poller.asked == [{"a", "b", "c"}]
    time.sleep(0.45)
    assert poller.seen("a") == 2  # the answer was good once


def test_a_query_that_fails_is_said_once_and_asked_again(caplog):
    import logging

    poller = Counting()
    poller.fault = ValueError("no sense")
    logging.getLogger("lazyllm").addHandler(caplog.handler)
    try:
        poller.follow("a")
        until(lambda: len(poller.asked) > 3)
    finally:
        logging.getLogger("lazyllm").removeHandler(caplog.handler)
    assert sum("no sense; it will be asked again" in line for line in caplog.messages) == 1
    poller.leave("a")


def test_since_when_a_word_is_said_is_known_to_all_processes(tmp_path):
    record = Record(tmp_path)
    first = said_since(record, "FAILED")
    assert abs(first - time.time()) < 5
    time.sleep(0.02)
    assert said_since(Record(tmp_path), "FAILED") == first
    assert said_since(record, "GONE") > first
    for damaged in ("", "[]", '{"word": "GONE"}', '{"word": "GONE", "since": "x"}', '{"word": "GONE", "since": 9e99}'):
        (tmp_path / "said.json").write_text(damaged)
        assert abs(said_since(record, "GONE") - time.time()) < 5


def test_a_state_never_goes_back(tmp_path):
    def known(said=None):
        return last_known(Record(tmp_path), said)  # as another process would

    assert [known(), known(Status.Running), known()] == [Status.InQueue, Status.Running, Status.Running]
    assert [known(Status.InQueue), known()] == [Status.InQueue] * 2  # put back, says the scheduler itself
    runner.write_json(str(tmp_path / "status.json"), {"state": "Running"})
    assert [known(), known(Status.Pending), known()] == [Status.Running, Status.Pending, Status.Running]


def test_a_program_that_hangs_is_ended_with_its_children(tmp_path):
    script = tmp_path / "hangs"
    script.write_text(f"#!/bin/sh\nsleep 61 &\necho $! > {tmp_path}/pid\necho 17; echo trying again >&2\nwait\n")
    script.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    answer = tools.run(["hangs"], whose="Nobody", limit=0.5, env=env)
    assert (answer.code, answer.out) == (None, "17\n")
    assert answer.words == "trying again; hangs gave no answer within 0.5 s"
    until(lambda: runner.token(int((tmp_path / "pid").read_text())) is None)
    with pytest.raises(LauncherError, match="Nobody's 'no-such' is not on PATH"):
        tools.run(["no-such"], whose="Nobody")


def test_a_program_gets_its_input_and_its_words_are_told():
    code = "import sys; sys.stderr.write(sys.stdin.read() + '\\nsecond'); sys.exit(3)"
    answer = tools.run([sys.executable, "-c", code], whose="Python", stdin="first")
    assert (answer.code, answer.ok, answer.words) == (3, False, "first; second")


@pytest.mark.parametrize(
    "host, private",
    [("127.0.0.1", True), ("127.8.8.8", True), ("LOCALHOST", True), ("::1", True), ("0:0:0:0:0:0:0:1", True),
     ("0.0.0.0", False), ("127.evil.example", False), ("127.0.0.1.nip.io", False), ("10.0.0.1", False), (None, False)],
)  # fmt: skip
def test_who_reaches_an_address(host, private):
    assert is_private(host) is private


def test_variables_that_may_hold_secrets():
    for name in ("LAZYLLM_API_KEY", "LAZYLLM_MODEL_SOURCE_TOKEN", "LAZYLLM_db_password", "X_CREDENTIAL", "RAY_HEADERS"):
        assert is_secret_variable(name)
    assert not any(map(is_secret_variable, ("LAZYLLM_HOME", "LAZYLLM_DATA_PATH", "PATH")))


def test_json_is_kept_readable(tmp_path):
    said_since(Record(tmp_path), "x")
    assert json.loads((tmp_path / "said.json").read_text())["word"] == "x"
