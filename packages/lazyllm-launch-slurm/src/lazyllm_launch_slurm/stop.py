"""Ends jobs: a running one through its runner, so that programs get the time that they are used to."""

from __future__ import annotations

from lazyllm.errors import LauncherError
from lazyllm.jobs.record import Record
from lazyllm.jobs.status import Status

from .commands import run, scancel
from .poller import poller


def stop(record: Record, jobid: str, force: bool) -> None:
    """Ask for a job's end and return at once.

    Slurm by itself would signal all of a job's processes at once, the runner and what it runs, and a program that is
    asked twice gives up what it was doing. So the runner alone is told, and with `force` Slurm does the rest.

    Raises:
        LauncherError: Slurm does not do it.
    """
    answer = None
    if record.state is Status.Running and not _suspended(jobid):
        answer = run(scancel(jobid, "--batch", "--signal=INT" if force else "--signal=TERM"))
    if force or answer is None or not answer.ok:
        answer = run(scancel(jobid))
    if not answer.ok:
        raise LauncherError(f"Job {jobid} cannot be cancelled: {answer.words}.", hint=f"Try: scancel {jobid}")


def _suspended(jobid: str) -> bool:
    seen = poller().seen(jobid)
    return seen is not None and seen.word == "SUSPENDED"
