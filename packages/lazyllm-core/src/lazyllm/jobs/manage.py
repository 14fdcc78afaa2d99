"""All jobs of this user, from any process: list, find, read and stop them, and end what dead ones left behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from ..errors import LazyLLMError
from .debts import clear
from .ending import end
from .finding import find, key_for
from .info import JobInfo, info, infos
from .job import Job
from .output import Follower
from .reaping import Reaped, reap
from .record import Record, prune, records
from .status import state_of
from .sweep import settle

__all__ = [
    "JobInfo", "Reaped", "find", "info", "key_for", "logs", "prune", "ps", "reap", "stop", "stop_each",
]  # fmt: skip

AT_ONCE = 16
"""Jobs that `stop_each` ends at a time."""


def ps(running: bool = False) -> list[JobInfo]:
    """Return all jobs, the oldest first; with `running` only those that have not ended. Old records are pruned."""
    everything = [(record, record.status()) for record in records()]
    prune(everything)
    clear(record for record, status in everything if record.data and status.get("unconfirmed"))
    found = infos(
        (record, status) for record, status in everything if record.data and not (running and state_of(status).ended)
    )
    return sorted((job for job in found if not (running and job.state.ended)), key=lambda job: (job.created, job.id))


def logs(key: str | int, *, follow: bool = False, lines: int | None = None) -> Iterator[str]:
    """Yield the lines of a job's output: all, or the last `lines`; with `follow` also those to come, until its end."""
    record = find(key)
    follower = Follower(record.log)
    if lines is not None:
        follower.skip_to_lines(lines)
    ended = _end_of(record) if follow else lambda: True
    while True:
        over = ended()
        yield from follower.lines(final=over)
        if over:
            return
        time.sleep(0.1)


def _end_of(record: Record) -> Callable[[], bool]:
    """Return what says whether a job has ended: its launcher or, where that cannot be had, its record alone."""
    try:
        job = Job.adopt(record)
    except LazyLLMError:
        return lambda: state_of(settle(record)).ended
    return lambda: job.status.ended


def stop(key: str | int, *, force: bool = False) -> JobInfo:
    """End a job, whoever started it, and return what is known of it. Returns when its processes and ports are gone.

    Raises:
        InputError: no such job.
        JobError: some process would not die, or the job cannot be reached.
        LauncherError: its launcher could not cancel it. With `force` the record is closed even so.
    """
    record = find(key)
    end(record, force)
    return info(record)


def stop_each(keys: Iterable[str], *, force: bool = False) -> Iterator[tuple[str, JobInfo | LazyLLMError]]:
    """End several jobs at once, and yield for each, in their order, its key and what `stop` returned or raised."""
    from concurrent.futures import ThreadPoolExecutor

    def one(key: str) -> tuple[str, JobInfo | LazyLLMError]:
        try:
            return key, stop(key, force=force)
        except LazyLLMError as error:
            return key, error

    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(one, dict.fromkeys(keys))
