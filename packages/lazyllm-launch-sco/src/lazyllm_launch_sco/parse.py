"""Reads what SenseCore's programs print. What cannot be read is unknown, never a failure."""

from __future__ import annotations

import json
import re
from typing import Any

from lazyllm.jobs.tools import Answer

STATE_KEYS = ("status_phase", "state")
"""Where `scontrol show job` has a job's state: older tools the first, newer ones the second."""
NOT_THERE = re.compile(r"not found|not exist|no such job|unknown job|invalid job", re.I)
A_JOB = re.compile(r"^(?!.*\bworkspace)(?=.*\bjob\b)", re.I)
ROW = re.compile(r"^\S+\s+([A-Za-z]{1,4}-[A-Za-z0-9-]+|\d+)\s*$", re.M)
"""A row of `squeue -o jobname,jobid`."""


def listed(text: str, name: str) -> str | None:
    """Return the id of the job `name` in the table of `squeue -o jobname,jobid`; empty if it has none, None if `text`
    is no such table.
    """
    if match := re.search(rf"(?:^|\s){re.escape(name)}\s+(\S+)", text):
        return match[1]
    head = text.strip().partition("\n")[0].lower()
    return "" if ROW.search(text) or re.search(r"name\W.*id", head) else None


def says_missing(answer: Answer, jobid: str) -> bool:
    """Say whether a program refused because there is no job `jobid`; a workspace or a page may not be found, too."""
    lines = () if answer.ok or answer.code is None else (answer.out + "\n" + answer.err).splitlines()
    return any(NOT_THERE.search(line) and (jobid in line or A_JOB.search(line)) for line in lines)


def created(text: str) -> str | None:
    """Return the id in the answer of `sco acp jobs create`: `job pt-… submitted successfully`."""
    match = re.search(r"\bjob\s+['\"]?([\w-]+)['\"]?\s+submitted successfully", text) or re.search(
        r"\b(pt-[a-z0-9]+)\b", text
    )
    return match[1] if match else None


def state_word(facts: Any) -> str | None:
    """Return a job's state in lower case; None if `facts` do not hold one."""
    if not isinstance(facts, dict):
        return None
    words = (facts.get(key) for key in STATE_KEYS)
    return next((word.strip().lower() for word in words if isinstance(word, str) and word.strip()), None)


def facts_of(text: str) -> Any:
    """Return the JSON in `text`, which other lines may stand before; None if there is none."""
    for start in sorted(at for at in (text.find("{"), text.find("[")) if at >= 0):
        try:
            return json.JSONDecoder().raw_decode(text[start:])[0]
        except ValueError:
            continue
    return None


def jobs_of(text: str) -> list[dict[str, Any]] | None:
    """Return the jobs that `sco acp jobs list -o json` names, the newest first; None if it is no such list."""
    found = facts_of(text)
    if isinstance(found, dict):
        found = next(
            (value for key in ("jobs", "training_jobs", "items") if (value := found.get(key)) is not None), None
        )
    if not isinstance(found, list):
        return None
    rows = [row for row in found if isinstance(row, dict) and isinstance(row.get("name"), str)]
    return sorted(rows, key=lambda row: str(row.get("create_time", "")), reverse=True)


def address_in(text: str) -> str | None:
    """Return the address of the last line `LAZYLLMIP address`."""
    found = re.findall(r"^.*\bLAZYLLMIP\s+([0-9A-Za-z.:%-]+)\s*$", text, re.M)
    return found[-1] if found else None
