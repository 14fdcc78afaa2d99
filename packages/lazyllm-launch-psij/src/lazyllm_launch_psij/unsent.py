"""Jobs whose submission was broken off: the program that submitted them died before an id was heard of."""

from __future__ import annotations

import json
from typing import Any

from lazyllm.jobs import runner
from lazyllm.jobs.record import Record
from lazyllm.jobs.recording import died, owner
from lazyllm.jobs.status import Status, state_of
from lazyllm.jobs.sweep import gone, here, processes_of, sweep

from .cluster import identity
from .commands import place_here
from .schedulers import LOCAL

NOTE = "psij.json"
"""File in the record: the executor, who submits the job, where, and which cluster answered there."""
SUBMITTING = "submitting"
"""Stands for the id of a job until its scheduler has named one."""
SUBMISSION, LATE = 60.0, 120.0
"""Ages in seconds from which on nobody is expected to be submitting a job, and from which on it is believed lost."""


def begin(record: Record, name: str) -> None:
    """Note that this process submits a job through the executor `name`."""
    place = place_here(name)
    noted = {"executor": name, "submitter": owner(), "place": place, "cluster": identity(name, place)}
    runner.write_json(str(record.folder / NOTE), noted)
    record.submitted(SUBMITTING)


def noted(record: Record) -> dict[str, Any]:
    """Return what `begin` noted; empty if that cannot be read."""
    try:
        found = json.loads((record.folder / NOTE).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def place_of(record: Record) -> dict[str, str] | None:
    """Return where the job was submitted, as `place_here` has it; None if that was not noted."""
    found = noted(record).get("place")
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else None


def given_up(record: Record) -> bool:
    """Say whether nobody is submitting the job any more: it is older than a minute, or its submitter is dead."""
    return record.age > SUBMISSION or _died(record)


def judge_unsent(record: Record) -> Status | None:
    """Return the state of a job for which no id was heard of."""
    if record.status() or not (record.age > LATE or _never_began(record)):
        return None
    ended = state_of(record.finish(*gone(record, "the program that submitted it died meanwhile")))
    record.ask_to_end()  # should its scheduler have got it even so, its runner starts nothing
    return ended


def jobid_of(record: Record) -> str:
    """Return the job's id. A record that was read before its scheduler named one is read again."""
    jobid = str(record.jobid or "")
    return str(Record(record.folder).jobid or "") if jobid == SUBMITTING else jobid


def close(record: Record) -> None:
    """End a job that is to be stopped. Should its scheduler have got it even so, its runner starts nothing."""
    sweep(record, {})
    told = record.status()
    if not told or here(told):
        record.finish(Status.Cancelled, "stopped" if told else "stopped before it ran")


def _died(record: Record) -> bool:
    """Say whether the submitter is known to be dead."""
    return died(noted(record).get("submitter") or {})


def _never_began(record: Record) -> bool:
    """Say whether a job of this machine's cannot begin any more: its submitter is dead, and it left no process."""
    return noted(record).get("executor") == LOCAL and _died(record) and not processes_of(record, {})
