"""Jobs that have ended and wait in Slurm's queue even so: a controller that forgot their start begins them anew."""

from __future__ import annotations

from collections.abc import Iterable

from lazyllm.common.log import LOG
from lazyllm.jobs.record import Record, jobs_folder
from lazyllm.jobs.status import Status, state_of

from .parse import Seen
from .place import cancel
from .states import STATES

SETTLED = 2.0
"""Seconds after a job's end from which on Slurm's list is no older than that."""


def cancel_ended(found: Iterable[Seen], cancelled: set[str]) -> None:
    """Cancel those jobs of `found` that wait though their records have ended, and keep their numbers in `cancelled`."""
    for seen in found:
        waits = STATES.get(seen.word) is Status.InQueue and seen.number not in cancelled
        if waits and (record := _ended(seen)) and cancel(record, seen.number).ok:
            cancelled.add(seen.number)
            LOG.info("Job %s, which has ended, was waiting in Slurm's queue: cancelled there.", seen.number)


def _ended(seen: Seen) -> Record | None:
    """Return the record of ours, by number and name, if it has ended some time before Slurm was asked."""
    key = seen.name.rpartition("-")[2]
    if not key.isalnum():
        return None
    record = Record(jobs_folder() / key)
    status = record.status()  # first, since most that wait have none
    if not state_of(status).ended or status.get("lost"):
        return None
    if float(status.get("ended") or seen.asked) + SETTLED >= seen.asked:
        return None
    return record if record.data.get("id") == key and str(record.jobid) == seen.number else None
