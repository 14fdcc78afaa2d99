"""Reads the schedulers' answers with psij-python's parsers, each job by itself.

psij gives up a whole answer for one job, of another program maybe, whose state or reason it does not know.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from lazyllm.jobs.status import Status

STATES = {
    "NEW": Status.InQueue,
    "QUEUED": Status.InQueue,
    "ACTIVE": Status.Running,
    "COMPLETED": Status.Done,
    "FAILED": Status.Failed,
    "CANCELED": Status.Cancelled,
}
"""psij-python's words."""

UNKNOWN = re.compile(r"unknown job|\bjob\b.* is not found|no matching job|invalid job id|has finished", re.IGNORECASE)
"""What the schedulers say of a job that they do not know any more."""

KILLED = re.compile(r"TERM_(FORCE_)?(OWNER|ADMIN)\b")
"""How LSF's reason begins if a person ended a job."""
DELETED = 265
"""The exit status that psij-python takes for a deleted job of PBS."""
COLUMNS = "JobArrayID,StateCompact,Name:80,Reason"
"""What squeue is asked for: psij-python's columns and, before one that may hold blanks, the job's name."""


@dataclass(frozen=True, slots=True)
class Word:
    """What a scheduler says of one job. `status` is None if it does not know it, `name` "" if it does not tell it."""

    status: Status | None
    message: str = ""
    name: str = ""


def asked(name: str, argv: Iterable[object]) -> list[str]:
    """Return psij-python's status command `argv`; Slurm is asked for the jobs' names, too."""
    words = [str(part) for part in argv]
    if name == "slurm":
        words[words.index("-O") + 1] = COLUMNS
    return words


def read(executor: Any, name: str, text: str) -> dict[str, Word]:
    """Return {job id: word} of what a status command printed; what cannot be understood is left out."""
    found: dict[str, Word] = {}
    for piece, reason, called in _pieces(name, text):
        try:
            told = executor.parse_status_output(0, piece)
        except Exception:  # noqa: S112 (a job that psij-python cannot read is one that it says nothing about)
            continue
        for jobid, status in told.items():
            if (state := STATES.get(status.state.name)) is not None:
                state = Status.Cancelled if KILLED.match(reason) else state
                found[str(jobid)] = Word(state, reason or str(status.message or ""), called)
    return found


def _pieces(name: str, text: str) -> Iterator[tuple[str, str, str]]:
    """Yield answers about one job each; apart from them reasons that psij-python stumbles over, and Slurm's names."""
    if name == "slurm":
        head, *lines = text.splitlines() or [""]
        for words in (line.split(None, 3) for line in lines):
            if len(words) >= 3:  # it knows few reasons, and none with a blank
                yield f"{head}\n{words[0]} {words[1]} NonZeroExitCode\n", "".join(words[3:]).strip(), words[2]
        return
    data = _json(text)
    if name == "lsf":
        for entry in data.get("RECORDS") or ():
            if isinstance(entry, dict):  # it looks for a reason's text in the wrong place
                quiet = dict.fromkeys(("EXIT_REASON", "KILL_REASON", "SUSPEND_REASON"), "")
                yield json.dumps({"RECORDS": [{**entry, **quiet}]}), str(entry.get("EXIT_REASON") or ""), ""
        return
    jobs = data.get("Jobs")
    for jobid, entry in (jobs if isinstance(jobs, dict) else {}).items():
        if isinstance(entry, dict) and entry.get("job_state") == "F":
            entry = {"Exit_status": DELETED, **entry}  # it has none if the job never ran
        yield json.dumps({"Jobs": {jobid: entry}}), "", ""


def _json(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}
