"""What Ray's words mean. A word that is not here means nothing: the job goes on being watched."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lazyllm.jobs.status import Status

STATES = {
    "PENDING": Status.InQueue,
    "RUNNING": Status.Running,
    "SUCCEEDED": Status.Done,
    "STOPPED": Status.Cancelled,
    "FAILED": Status.Failed,
}

GONE = "GONE"
"""Our own word for a job that is not in the cluster's list."""

ENDS = {
    "JOB_SUPERVISOR_ACTOR_START_TIMEOUT": (
        "Ray gave up waiting for resources; RAY_JOB_START_TIMEOUT_SECONDS, set where `ray start --head` runs, "
        "lets jobs wait for longer than its 900 s"
    ),
    "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE": "Ray cannot place it",
    "JOB_SUPERVISOR_ACTOR_START_FAILURE": "Ray could not start it",
    "JOB_SUPERVISOR_ACTOR_DIED": "its node or Ray's process for it died",
    "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE": "Ray lost it",
    "RUNTIME_ENV_SETUP_FAILURE": "Ray could not set up its environment",
    "JOB_ENTRYPOINT_COMMAND_START_ERROR": "Ray could not start its runner",
}
"""Kinds of failure of Ray's own, in which no program of the job's has failed."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A job as the cluster had it at the time `asked`; of a job that it does not have, `session` is the cluster's."""

    word: str
    asked: float
    message: str = ""
    kind: str = ""
    code: int | None = None
    submitted: float | None = None
    ended: float | None = None
    session: str = ""


def jobs(answer: Any, asked: float) -> dict[str, Seen]:
    """Return the submitted jobs in an answer of `GET /api/jobs/`; rows that are none are left out."""
    found = {}
    for row in answer if isinstance(answer, Iterable) and not isinstance(answer, (str, dict)) else ():
        if not isinstance(row, dict) or row.get("type", "SUBMISSION") != "SUBMISSION":
            continue
        name, word = row.get("submission_id"), row.get("status")
        if isinstance(name, str) and isinstance(word, str):
            code = row.get("driver_exit_code")
            found[name] = Seen(
                word,
                asked,
                str(row.get("message") or ""),
                str(row.get("error_type") or ""),
                code if isinstance(code, int) else None,
                _seconds(row.get("start_time")),
                _seconds(row.get("end_time")),
            )
    return found


def _seconds(milliseconds: Any) -> float | None:
    return milliseconds / 1000 if isinstance(milliseconds, (int, float)) else None
