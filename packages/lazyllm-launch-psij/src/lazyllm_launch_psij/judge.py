"""What follows from a scheduler's word on a job for its record."""

from __future__ import annotations

import os
import time
from typing import Any

from lazyllm.common.log import LOG
from lazyllm.errors import LauncherError
from lazyllm.jobs import runner
from lazyllm.jobs.polling import said_since
from lazyllm.jobs.record import Record
from lazyllm.jobs.status import Status, state_of
from lazyllm.jobs.sweep import sweep

from .cancel import cancel
from .poller import Seen
from .schedulers import SCHEDULERS
from .submit import LOG as NODE_LOG
from .unsent import age

LAG = 3.0
"""Seconds after a job's end in which its runner's last word may still be on its way through the file system."""
UNSURE = 60.0
"""Age in seconds from which on a job that its scheduler does not know is believed to be lost."""
LOST = 10.0
"""Seconds for which the scheduler must have said so."""
UNKNOWN = "unknown"
"""Our own word for a job that its scheduler does not know."""


def judge(record: Record, name: str, jobid: str, seen: Seen) -> Status | None:
    """Return a job's state, or None if its record says it better. An end that only the scheduler knows is written."""
    told = record.status()
    state = state_of(told)
    if state.ended:
        return state
    title, quiet = SCHEDULERS[name].title, seen.asked - said_since(record, seen.status or UNKNOWN)
    if seen.status is None:
        if age(record) < UNSURE or quiet < LOST:
            return None if told else Status.InQueue
        return _end(record, told, Status.Failed, f"{title} no longer knows it, and its runner left no last word")
    if seen.status is Status.InQueue:
        if state is Status.Running:
            return None
        return _hopeless(record, told, name, jobid, seen.message) or seen.status
    if not seen.status.ended:
        return seen.status
    if quiet < LAG:
        return None
    if record.stopping:
        return _end(record, told, Status.Cancelled, "stopped")
    if seen.status is Status.Cancelled:
        return _end(record, told, seen.status, f"cancelled in {title}")
    return _end(record, told, Status.Failed, _why(record, told, title))


def judge_local(record: Record, jobid: str) -> Status | None:
    """Return the state of a job of the local executor, whose runner's word is the best: this is its machine."""
    if record.status() or not jobid.isdecimal() or runner.token(int(jobid)) or record.data.get("node") != _here():
        return None
    time.sleep(0.1)
    if told := record.status():
        return state_of(told)
    state = (Status.Cancelled, "stopped") if record.stopping else (Status.Failed, _why(record, {}, "its Python"))
    return _end(record, {}, *state)


def _why(record: Record, told: dict[str, Any], title: str) -> str:
    if told:
        return f"its runner died ({title} says that the job is over)"
    words = _last_words(record)
    return "its runner did not start on the node" + (
        f": {words}"
        if words
        else "; the node must see LAZYLLM_HOME and this Python under the same paths, and its limits must let it run"
    )


def _last_words(record: Record) -> str:
    try:
        lines = (record.folder / NODE_LOG).read_text("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1][:300] if lines else ""


def _hopeless(record: Record, told: dict[str, Any], name: str, jobid: str, message: str) -> Status | None:
    """End a job that PBS says it can never run."""
    if not message.lower().startswith("can never run"):
        return None
    try:
        cancel(name, jobid)
    except LauncherError as error:
        LOG.warning("Job %s cannot be cancelled: %s", jobid, error)
    return _end(record, told, Status.Failed, f"{SCHEDULERS[name].title} would never start it: {message}")


def _end(record: Record, told: dict[str, Any], state: Status, reason: str) -> Status:
    if told.get("node") == _here():
        sweep(record, told)
    return state_of(record.finish(state, reason))


def _here() -> str:
    return os.uname().nodename
