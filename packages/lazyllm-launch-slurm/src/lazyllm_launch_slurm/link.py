"""What this process remembers of a job between two looks at it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from lazyllm.jobs.job import Job
from lazyllm.jobs.record import Record

from .parse import Seen

LOOK = 1.0
"""Seconds after which a job's record is read again even if nothing seems to have changed."""


@dataclass
class Link:
    """What was seen last."""

    _stamp: tuple[int, int] | None = None
    _seen: Seen | None = None
    _looked: float = 0.0

    def news(self, record: Record, seen: Seen | None) -> bool:
        """Say whether the record should be read again: it, or Slurm's word, has changed, or it is long ago."""
        stamp, now = _stamp_of(record), time.monotonic()
        if stamp == self._stamp and seen is self._seen and now - self._looked < LOOK:
            return False
        self._stamp, self._seen, self._looked = stamp, seen, now
        return True


def link_of(job: Job) -> Link:
    """Return a job's link, a new one if this process sees the job for the first time."""
    if not isinstance(job.handle, Link):
        job.handle = Link()
    return job.handle


def _stamp_of(record: Record) -> tuple[int, int] | None:
    try:
        found = (record.folder / "status.json").stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
