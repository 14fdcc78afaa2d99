"""What follows from Slurm's word on a job for its record."""

from __future__ import annotations

import os
import time
from typing import Any

from lazyllm.common.log import LOG
from lazyllm.errors import LauncherError
from lazyllm.jobs.record import Record
from lazyllm.jobs.status import Status, state_of
from lazyllm.jobs.sweep import sweep

from .commands import run, scancel
from .parse import Seen
from .states import ENDS, GONE, STATES, SUDDEN, hopeless

LAG = 2.0
"""Seconds after a job's end in which its runner's last word may still be on its way through the file system."""
UNSURE = 60.0
"""Age in seconds from which on a job that Slurm does not know is believed to be lost."""


def judge(record: Record, jobid: str, seen: Seen) -> Status | None:
    """Return a job's state, or None if its record says it better. An end that only Slurm knows of is written down."""
    told = record.status()
    state = state_of(told)
    if state.ended:
        return state
    if seen.name and not seen.name.endswith(record.id):
        seen = Seen(GONE, seen.asked)  # the number is another job's by now
    if seen.word == GONE:
        if time.time() - float(record.data.get("created", 0)) < UNSURE:
            return None
        return _end(record, told, Status.Failed, ENDS[GONE])
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


def _why(seen: Seen, told: dict[str, Any], stopped: bool) -> str:
    if stopped and seen.word == "CANCELLED":
        return "stopped"
    if seen.word in ENDS:
        return ENDS[seen.word]
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
        run(scancel(jobid))
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
