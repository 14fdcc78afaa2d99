"""What follows from a scheduler's word on a job for its record."""

from __future__ import annotations

import os
import time
from typing import Any

from lazyllm.common.log import LOG
from lazyllm.errors import LauncherError
from lazyllm.jobs import runner
from lazyllm.jobs.polling import last_known, lives, said_since
from lazyllm.jobs.record import Record
from lazyllm.jobs.status import Status, state_of
from lazyllm.jobs.sweep import gone, sweep

from .cancel import cancel
from .home import at_home
from .hopeless import hopeless
from .poller import Seen
from .schedulers import SCHEDULERS
from .submit import LOG as NODE_LOG

LAG = 3.0
"""Seconds after a job's end in which its runner's last word may still be on its way through the file system."""
UNSURE = 60.0
"""Age in seconds from which on a job that its scheduler does not know may be lost."""
LOST = 10.0
"""Seconds for which the scheduler must have said so."""
SILENT = 120.0
"""Seconds for which its runner must have been silent, which gives a sign of life every 20 seconds: a network drive may
hide it for a minute."""
SURE = 3.0
"""Seconds for which it must have said why a job can never start: a scheduler that starts has no nodes at first."""
UNKNOWN, NEVER = "unknown", "never"
"""Our own words for a job that its scheduler does not know, or can never start."""


def judge(record: Record, name: str, jobid: str, seen: Seen) -> Status:
    """Return a job's state. An end that only the scheduler knows is written."""
    told = record.status()
    if (state := state_of(told)).ended:
        return state
    return last_known(record, _judge(record, told, name, jobid, seen))


def _judge(record: Record, told: dict[str, Any], name: str, jobid: str, seen: Seen) -> Status | None:
    never = hopeless(name, seen.message) if seen.status is Status.InQueue else None
    lasting = seen.asked - said_since(record, NEVER if never else seen.status or UNKNOWN)
    title = SCHEDULERS[name].title
    if seen.status is None:
        end = _lost(record, told, title, lasting)
    elif seen.status is Status.InQueue:
        if state_of(told) is Status.Running:
            return None
        end = (Status.Failed, f"{title} would never start it: {never}") if never and lasting >= SURE else None
    elif seen.status.ended:
        end = _ended(record, told, title, seen.status, lasting)
    else:
        return seen.status
    if end is None or not at_home(record, name):
        return Status.InQueue if seen.status is Status.InQueue else None
    if seen.status is Status.InQueue:
        _take_out(record, name, jobid)
    return _end(record, told, *end)


def _lost(record: Record, told: dict[str, Any], title: str, lasting: float) -> tuple[Status, str] | None:
    """Return the end of a job that its scheduler has not known for `lasting` seconds; None if it may live."""
    if record.stopping and not told:
        return Status.Cancelled, "stopped"
    if record.age < UNSURE or lasting < LOST or (lives(record, SILENT) and not record.stopping):
        return None
    return gone(record, f"{title} no longer knows it, and its runner left no last word")


def _ended(record: Record, told: dict[str, Any], title: str, said: Status, lasting: float) -> tuple[Status, str] | None:
    """Return the end of a job that its scheduler says has ended; None while its runner's last word may come."""
    if lasting < LAG and (told or said is not Status.Cancelled):
        return None
    if record.stopping:
        return Status.Cancelled, "stopped"
    if said is Status.Cancelled:
        return said, f"cancelled in {title}"
    return Status.Failed, _why(record, told, title)


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


def _take_out(record: Record, name: str, jobid: str) -> None:
    """Have a scheduler forget a job that it will never start."""
    try:
        cancel(record, name, jobid)
    except LauncherError as error:
        LOG.warning("Job %s cannot be cancelled: %s", jobid, error)


def _end(record: Record, told: dict[str, Any], state: Status, reason: str) -> Status:
    if told.get("node") == _here():
        sweep(record, told)
    ended = state_of(record.finish(state, reason))
    record.ask_to_end()  # should it go on, or begin, even so, its runner ends it
    return ended


def _here() -> str:
    return os.uname().nodename
