"""Whether the cluster that answers is the one that has a job: the same configuration may name another by now."""

from __future__ import annotations

from lazyllm.common.log import LOG
from lazyllm.jobs.record import Record

from .cluster import identity
from .schedulers import SCHEDULERS
from .unsent import noted, place_of

_warned: set[str] = set()


def at_home(record: Record, name: str) -> bool:
    """Say whether the cluster that answers is known to be the job's own, or which that is was not told at the time."""
    theirs = noted(record).get("cluster")
    if not theirs:
        return True
    if (words := elsewhere(record, name)) and words not in _warned:
        _warned.add(words)
        LOG.warning("%s", words)
    return identity(name, place_of(record)) == str(theirs)


def elsewhere(record: Record, name: str, *, fresh: bool = False) -> str:
    """Return, in words, that a job belongs to another cluster than the one that answers; "" if that is not known.

    With `fresh` the cluster is asked now.
    """
    theirs, mine = noted(record).get("cluster"), identity(name, place_of(record), fresh=fresh)
    if not theirs or not mine or mine == theirs:
        return ""
    return (
        f"{SCHEDULERS[name].title}'s job {record.jobid} (record {record.id}) was submitted to the cluster {theirs}, "
        f"and another one answers here: {mine}."
    )
