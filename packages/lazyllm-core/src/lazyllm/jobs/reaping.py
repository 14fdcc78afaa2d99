"""Ends what dead jobs left behind, on this machine and in their schedulers."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import LazyLLMError
from .debts import clear
from .ending import close_if_absent, end
from .info import info
from .record import Record, jobs_folder, prune, records
from .runner import MARK, environment, processes, token
from .status import state_of
from .sweep import here, processes_of, prove_gone, runner_alive, settle, sweep


@dataclass(frozen=True)
class Reaped:
    """A job that was ended by `reap`, why, and the PIDs that lived on until then. `left` are those that still live."""

    id: str
    name: str
    reason: str
    pids: list[int]
    left: list[int]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def reap() -> list[Reaped]:
    """End what dead jobs left behind: jobs whose runner or owner is gone, and processes of jobs that have ended.

    What a scheduler still holds of a job whose record was closed without its word is cancelled there.
    """
    marked, everything = _marked(), list(records())
    found = [_reap(record, marked.get(record.id, [])) for record in everything]
    found += [_reap_unrecorded(key, pids) for key, pids in marked.items()]
    held = clear(record for record in everything if record.status().get("unconfirmed"))
    found += [Reaped(record.id, record.data["name"], "was still held by its scheduler", [], []) for record in held]
    prune()
    return [report for report in found if report is not None]


def _reap(record: Record, strays: list[int]) -> Reaped | None:
    status = record.status()
    if status and not here(status):
        if not strays or not info(record).state.ended:
            return None  # it is its launcher's to say whether it has ended, though processes of it are here
        status = record.status()
    ended = state_of(status).ended
    if ended and (not strays or runner_alive(status)):
        return None
    name, left = record.data.get("name", ""), []
    if ended:
        left = sweep(record, {})
        return Reaped(record.id, name, "processes of an ended job", strays, left)
    pids = sorted(processes_of(record, status)) if status else strays
    if status and runner_alive(status):
        owner = record.data.get("owner")
        if not owner or token(owner["pid"]) == owner["created"]:
            return None
        reason = "owner died"
        try:
            end(record)
        except LazyLLMError as error:
            reason, left = f"owner died; {error.message}", sorted(processes_of(record, status))
        return Reaped(record.id, name, reason, pids, left)
    status = settle(record)
    if not state_of(status).ended and not close_if_absent(record):
        return None
    status = record.status()
    left = prove_gone(record, status)
    return Reaped(record.id, name, str(status.get("reason")), pids, left)


def _reap_unrecorded(key: str, pids: list[int]) -> Reaped | None:
    """End a job whose record was removed while it ran, if that was one of this home's."""
    record = Record(jobs_folder() / key)
    folders = {environment(pid).get(b"LAZYLLM_JOB_DIR") for pid in pids}
    if os.fsencode(record.folder) not in folders or (record.folder / "job.json").exists():
        return None
    return Reaped(key, "", "its record was removed", pids, sweep(record, {}))


def _marked() -> dict[str, list[int]]:
    """Return {job id: PIDs} of all live processes that carry a job's mark."""
    found: dict[str, list[int]] = {}
    for pid in processes():
        if mark := environment(pid).get(MARK):
            found.setdefault(mark.decode("ascii", "replace"), []).append(pid)
    return found
