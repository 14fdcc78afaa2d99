"""Records that a disk fault, a person or another program has spoilt are named, and keep nobody from the others."""

from __future__ import annotations

import json
import logging
import os
import time
from typing import Any

import pytest

from lazyllm.cli import run
from lazyllm.errors import InputError, JobError, LauncherError
from lazyllm.jobs import manage, recording
from lazyllm.jobs.command import Command
from lazyllm.jobs.job import Job
from lazyllm.jobs.launcher import LazyLLMLaunchersBase
from lazyllm.jobs.record import Record
from lazyllm.jobs.status import Status

SERVICE = {"port": "port", "path": "/v1", "protocol": "openai", "health": "/h", "timeout": 5}


class _BusyLauncher(LazyLLMLaunchersBase):
    def submit(self, job: Any) -> str | None:
        raise LauncherError("The queue is full.", hint="Wait.")

    def query(self, job: Any) -> Status | None:
        return None

    def cancel(self, job: Any, force: bool = False) -> None: ...


def made(status: dict[str, Any] | None = None, leave_out: str = "", **fields: Any) -> Record:
    """Make the record of an ended job; fields replace what job.json and, in `status`, status.json hold."""
    new = recording.create(Command.of(["true"]), name="j", launcher="empty", env={}, owner=None, detached=True)
    data = {**new.data, **fields}
    data.pop(leave_out, None)
    (new.folder / "job.json").write_text(json.dumps(data))
    node = os.uname().nodename
    told = {"state": "Done", "phase": "ended", "node": node, "ended": time.time(), **(status or {})}
    (new.folder / "status.json").write_text(json.dumps(told))
    new.log.write_text("hello\n")
    return Record(new.folder)


DAMAGED = [
    {"created": None}, {"created": "today"}, {"created": float("nan")}, {"created": 10**400}, {"scratch": [1]},
    {"name": ["a"]}, {"launcher": 7}, {"leave_out": "name"}, {"leave_out": "launcher"}, {"owner": "me"}, {"owner": {}},
    {"secrets": None}, {"service": {"port": "port"}}, {"node": ["a"]},
]  # fmt: skip


@pytest.mark.parametrize("fields", DAMAGED, ids=lambda fields: str(fields)[:40])
def test_a_damaged_job(
    fields: dict[str, Any], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, good = made(**fields), made()
    with caplog.at_level(logging.WARNING, logger="lazyllm"):
        for _ in range(2):
            assert [job.id for job in manage.ps()] == [good.id] and manage.reap() == [] and manage.prune() == 0
    (warning,) = (entry.getMessage() for entry in caplog.records)
    assert str(bad.folder) in warning and "damaged and passed over: " in warning and bad.folder.exists()
    for act in (manage.stop, lambda key: list(manage.logs(key)), lambda key: Job.adopt(bad)):
        with pytest.raises(JobError, match=f"The record of job {bad.id} is damaged: ") as caught:
            act(bad.id)
        assert str(bad.folder) in str(caught.value)
    for command in ("stop", "logs"):
        assert run([command, bad.id]) != 0
        assert "is damaged: " in capsys.readouterr().err


STATUSES = [
    {"ended": "yesterday"}, {"ended": float("nan")}, {"address": [1]}, {"address": {"host": "h", "ports": {}}},
    {"address": {"host": "h", "ports": {"port": 70000}}}, {"state": ["a"]}, {"runner_pid": "abc"}, {"reason": ["a"]},
    {"left": 3}, {"node": ["a"], "state": "Cancelled"}, {"exit_code": "2"},
]  # fmt: skip


@pytest.mark.parametrize("status", STATUSES, ids=str)
@pytest.mark.parametrize("state", ["Done", "Running"])
def test_fields_of_a_status_that_cannot_be_right(
    status: dict[str, Any], state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = made({"state": state, **status}, service=SERVICE)
    assert [job.id for job in manage.ps()] == [bad.id] and manage.reap() == []
    assert run(["ps", "--all"]) == 0 and bad.id in capsys.readouterr().out
    assert manage.find("j").id == bad.id and list(manage.logs(bad.id)) == ["hello"]
    if bad.state.ended:
        assert manage.stop(bad.id).id == bad.id


def test_a_runner_of_unknown_birth_is_not_alive() -> None:
    """Two unknown things are not the same process."""
    made({"state": "Running", "runner_pid": 2**30})
    (told,) = manage.ps()
    assert (told.state, told.reason) == (Status.Failed, "runner died")


def test_a_service_whose_port_is_not_known_has_no_url() -> None:
    new = made({"state": "Running", "node": "far", "address": {"host": "h", "ports": {}}}, service=SERVICE)
    assert new.url(new.status()) is None and manage.info(new).url is None


def test_a_result_that_cannot_be_read() -> None:
    new = made(returns=True)
    job = Job.adopt(new, _BusyLauncher())
    assert job.return_value is None
    for text in (b"{", b"\xff", b"", b"[" * 100_000):
        (new.folder / "result.json").write_bytes(text)
        with pytest.raises(JobError, match=f"What job 'j' \\({new.id}\\) returned cannot be read: ") as caught:
            _ = job.return_value
        assert str(new.folder / "result.json") in str(caught.value)


def test_the_reason_of_a_submission_that_failed_is_one_line() -> None:
    with pytest.raises(LauncherError, match="Wait"):
        _BusyLauncher().makejob(["true"]).start()
    (told,) = manage.ps()
    assert told.reason == "not started: The queue is full."


def test_many_jobs_of_one_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter(range(20))
    monkeypatch.setattr(recording, "_new_id", lambda: f"a{next(numbers):07d}")
    for _ in range(7):
        made()
    with pytest.raises(InputError, match="begins the ids of several jobs: a0000000, .*, a0000004 and 2 more\\."):
        manage.find("a000")
