"""Ends what dead jobs left behind, on this machine and in their schedulers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..errors import LazyLLMError
from .debts import clear
from .ending import close_if_absent, end
from .record import Record, prune, records
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
    held = clear(record for record in everything if record.status().get("unconfirmed"))
    found += [Reaped(record.id, record.data["name"], "was still held by its scheduler", [], []) for record in held]
    prune()
    return [report for report in found if report is not None]


def _reap(record: Record, strays: list[int]) -> Reaped | None:
    status = record.status()
    if status and not here(status):
        return None
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


def _marked() -> dict[str, list[int]]:
    """Return {job id: PIDs} of all live processes that carry a job's mark."""
    found: dict[str, list[int]] = {}
    for pid in processes():
        if mark := environment(pid).get(MARK):
            found.setdefault(mark.decode("ascii", "replace"), []).append(pid)
    return found
