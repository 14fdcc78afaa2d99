"""What SenseCore's words mean. A word that is not here means nothing: the job goes on being watched."""

from __future__ import annotations

from dataclasses import dataclass

from lazyllm.jobs.status import Status

STATES = {
    "running": Status.Running,
    **dict.fromkeys(("tbsubmitted", "suspending"), Status.TBSubmitted),
    **dict.fromkeys(
        ("waiting", "init", "queueing", "creating", "restarting", "recovering", "starting"), Status.InQueue
    ),
    "suspended": Status.Cancelled,
    "succeeded": Status.Done,
    "failed": Status.Failed,
}

GONE = "deleted"
"""A job that SenseCore does not have any more: it says so, or that there is none."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A job as SenseCore told it at `asked` (seconds since 1970).

    `word` is its state in lower case, `number` its id.
    """

    word: str
    asked: float
    number: str = ""
