"""What follows from Slurm's word on a job for its record.

A record that is closed ends its job, should that live even so. So Slurm's word closes one if it speaks of this very
job; that Slurm does not know it closes one only after a while without any sign of life, and so that a runner which
lives after all takes its record back.
"""

from __future__ import annotations

import os
import time
from typing import Any

from lazyllm.common.log import LOG
from lazyllm.errors import LauncherError
from lazyllm.jobs.polling import said_since
from lazyllm.jobs.record import Record
from lazyllm.jobs.runner import write_json
from lazyllm.jobs.status import Status, state_of
from lazyllm.jobs.sweep import gone, runner_alive, sweep

from .ends import ENDS
from .parse import Seen
from .place import at_home, cancel
from .states import GONE, STATES, SUDDEN, hopeless

LAG = 2.0
"""Seconds after a job's end in which its runner's last word may still be on its way through the file system."""
UNSURE = 60.0
"""Age in seconds from which on a job that Slurm does not know may be lost: lists may be late."""
HEEDED = 4.0
"""Seconds for which a job that was to end before it ran must have been unknown to Slurm."""
LOST = 120.0
"""Seconds for which another one must have been, without a sign of life. Its runner gives one every 15 seconds, and a
network drive may hide it for a minute."""


def judge(record: Record, jobid: str, seen: Seen) -> Status | None:
    """Return a job's state, or None if its record says it better. An end that only Slurm knows of is written down."""
    told = record.status()
    state = state_of(told)
    if state.ended:
        return state
    if seen.name and not seen.name.endswith(record.id):
        seen = Seen(GONE, seen.asked)  # the number is another job's by now
    if seen.word == GONE:
        return _missing(record, told, seen)
    said_since(record, seen.word)
    asked = STATES.get(seen.word)
    if asked is Status.InQueue:
        if float(told.get("started") or 0) > seen.asked:
            return None  # it has begun since
        return _give_up(record, jobid, seen, told) or asked
    if asked is None or not asked.ended:
        return asked
    if told and seen.word not in SUDDEN and (seen.code or 0) >= 0 and time.time() - (seen.ended or 0) < LAG:
        return None
    return _end(record, told, Status.Failed if asked is Status.Done else asked, _why(seen, told, record.stopping))


def _missing(record: Record, told: dict[str, Any], seen: Seen) -> Status | None:
    local = told.get("machine") == os.uname().nodename
    if (local and runner_alive(told)) or not at_home(record):
        return None
    missed = seen.asked - said_since(record, f"{GONE} {_sign_of_life(record)}")
    if record.stopping and not told and missed >= HEEDED:
        return _end(record, told, Status.Cancelled, "stopped")
    if missed < LOST or record.age < UNSURE:
        return None
    state, reason = gone(record, "Slurm no longer knows it, and its runner left no last word")
    if local or state is Status.Cancelled:
        return _end(record, told, state, reason)
    told = record.status()
    if state_of(told).ended:  # its runner said so just now
        return state_of(told)
    lost = {"state": state.value, "phase": "ended", "ready": False, "reason": reason, "ended": time.time()}
    write_json(str(record.folder / "status.json"), {**told, **lost, "lost": True})  # and the runner's things stay
    return state


def _sign_of_life(record: Record) -> str:
    """Return what is another text once a job's runner or programs have done anything."""
    signs = []
    for path in (record.folder / "alive", record.log):
        try:
            found = path.stat()
            signs.append(f"{found.st_mtime_ns} {found.st_size}")
        except OSError:
            signs.append("")
    return ", ".join(signs)


def _why(seen: Seen, told: dict[str, Any], stopped: bool) -> str:
    if stopped and seen.word == "CANCELLED":
        return "stopped"
    if seen.word in ENDS:
        return ENDS[seen.word][1]
    how = f"signal {-seen.code}" if seen.code and seen.code < 0 else f"exit code {seen.code}"
    if told:
        return f"its runner died (Slurm: {seen.word}, {how})"
    return (
        f"its runner did not start on the node (Slurm: {seen.word}, {how}); "
        "the node must see LAZYLLM_HOME and this Python under the same paths"
    )


def _give_up(record: Record, jobid: str, seen: Seen, told: dict[str, Any]) -> Status | None:
    verdict = hopeless(seen.reason)
    if verdict is None or state_of(told) is Status.Running:
        return None  # a controller that lost its memory may take a running job for a waiting one
    try:
        cancel(record, jobid)
    except LauncherError as error:
        LOG.warning("Job %s cannot be cancelled: %s", jobid, error)
    meaning, remedy = verdict
    return _end(
        record, told, Status.Failed, f"Slurm would never start it: {meaning} ({seen.reason}). {remedy.rstrip('.')}"
    )


def _end(record: Record, told: dict[str, Any], state: Status, reason: str) -> Status:
    if told.get("machine") == os.uname().nodename:
        sweep(record, {})  # without cgroups, processes in sessions of their own outlive a job
    return state_of(record.finish(state, reason))
