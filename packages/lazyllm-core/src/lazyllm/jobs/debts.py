"""What a scheduler may still hold of jobs whose records were closed without its word, and jobs by their launchers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..common.log import LOG
from ..errors import LazyLLMError
from .job import Job
from .record import Record


def together(found: Iterable[Record]) -> Iterator[list[Job]]:
    """Yield the jobs of these records, those of one launcher at a time; none whose launcher cannot be had."""
    by_launcher: dict[str, list[Record]] = {}
    for record in found:
        by_launcher.setdefault(record.data["launcher"], []).append(record)
    for same in by_launcher.values():
        try:
            first = Job.adopt(same[0])
        except LazyLLMError:
            continue
        yield [first, *(Job.adopt(record, first.launcher) for record in same[1:])]


def clear(found: Iterable[Record]) -> list[Record]:
    """Have launchers cancel what their schedulers hold of these jobs, which have ended. Return those of which they did.

    A scheduler that cannot be asked is asked another time.
    """
    held = []
    for jobs in together(found):
        try:
            told = jobs[0].launcher.leftovers(jobs)
        except Exception as error:
            LOG.warning("launchers.%s cannot tell what it holds: %s", jobs[0].launcher.short_name(), error)
            continue
        for record in (job.demand_record() for job in jobs):
            if record.id in told:
                record.confirmed()
            if told.get(record.id):
                held.append(record)
    return held
