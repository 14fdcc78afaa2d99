"""Ends jobs: a running one through its runner, so that programs get the time that they are used to."""

from __future__ import annotations

from lazyllm.errors import LauncherError
from lazyllm.jobs.record import Record
from lazyllm.jobs.status import Status

from .place import at_home, cancel, elsewhere, place_of
from .poller import poller
from .states import GONE, STATES


def stop(record: Record, jobid: str, force: bool) -> None:
    """Ask for a job's end and return at once.

    Slurm by itself would signal all of a job's processes at once, the runner and what it runs, and a program that is
    asked twice gives up what it was doing. So the runner alone is told, and with `force` Slurm does the rest.

    Raises:
        LauncherError: Slurm does not do it.
    """
    if not at_home(record) and not _seen(record, jobid):
        raise LauncherError(elsewhere(record), hint="Let SLURM_CONF name the configuration of the job's own cluster.")
    answer = None
    if record.state is Status.Running and _seen(record, jobid) != "SUSPENDED":
        answer = cancel(record, jobid, "--batch", "--signal=INT" if force else "--signal=TERM")
    if force or answer is None or not answer.ok:
        answer = cancel(record, jobid)
    if not answer.ok:
        raise LauncherError(f"Job {jobid} cannot be cancelled: {answer.words}.", hint=f"Try: scancel {jobid}")


def leftovers(record: Record, jobid: str) -> bool | None:
    """Cancel a job whose record has ended if Slurm still holds it; False if it does not, None if it cannot be told."""
    asking = poller(place_of(record))
    seen = asking.seen(jobid)
    if seen is None or seen.asked < float(record.status().get("ended") or 0):
        return None
    if seen.word == GONE or not seen.name.endswith(record.id):
        return False if at_home(record) else None
    state = STATES.get(seen.word)
    if state is not None and state.ended:
        return False
    return True if seen.number in asking.cancelled or cancel(record, seen.number or jobid).ok else None


def _seen(record: Record, jobid: str) -> str:
    """Return Slurm's word for the state of this very job; "" if it lists none such."""
    seen = poller(place_of(record)).seen(jobid)
    return seen.word if seen is not None and seen.name.endswith(record.id) else ""
