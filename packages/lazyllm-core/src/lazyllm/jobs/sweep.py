"""Ends what a job left behind when its runner could not: the runner was killed, or the machine's memory ran out."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from .record import Record
from .runner import family, kill, port_free, press, token
from .status import Status, state_of

STARTUP = 60.0
"""Seconds that a detached job's runner may take to say its first word."""


def here(status: dict[str, Any]) -> bool:
    """Say whether the runner that wrote `status` is, or was, on this machine."""
    return status.get("node") == os.uname().nodename


def runner_alive(status: dict[str, Any]) -> bool:
    """Say whether the runner named in `status` lives; only meaningful on its own machine."""
    pid, born = status.get("runner_pid"), status.get("runner_created")
    return pid is not None and born is not None and token(pid) == born


def settle(record: Record, status: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the record's status, made true: if its runner has died, its processes are ended and that is written.

    `status` is what the caller has just read of it.
    """
    status = record.status() if status is None else status
    if state_of(status).ended or (status and not here(status)):
        return status
    if status:
        if runner_alive(status):
            return status
        status = record.status()
        if not state_of(status).ended:
            sweep(record, status)
            status = record.finish(*gone(record, "runner died"))
    elif here(record.data) and not record.jobid and _abandoned(record):
        sweep(record, {})
        status = record.finish(*gone(record, "never started"))
    return status


def gone(record: Record, otherwise: str) -> tuple[Status, str]:
    """Return the end, with its reason, of a job that is gone without a word: what was asked for, or else a failure."""
    return (Status.Cancelled, "stopped") if record.stopping else (Status.Failed, otherwise)


def signal_runner(status: dict[str, Any], force: bool) -> bool:
    """Have the runner end its job, if it lives on this machine; False if it does not. With `force` it kills at once."""
    if not here(status) or not runner_alive(status):
        return False
    # two different signals: of two equal ones the second may be lost; one that was stopped hears none before CONT
    for number in (signal.SIGTERM, *(signal.SIGINT,)[:force], signal.SIGCONT):
        kill(status["runner_pid"], status["runner_created"], number)
    return True


def _abandoned(record: Record) -> bool:
    owner = record.data.get("owner")
    if owner:
        return bool(token(owner["pid"]) != owner["created"])
    return record.age > STARTUP


def processes_of(record: Record, status: dict[str, Any]) -> dict[int, str]:
    """Return {pid: token} of the processes on this machine that carry the job's mark or stand in its step's session."""
    session, since = status.get("pid") or 0, status.get("pid_created") or ""
    if session and token(session) not in (None, since):
        session = 0  # another process has the number by now
    return family(record.id, session=session, since=since)


def sweep(record: Record, status: dict[str, Any], grace: float = 1.0, limit: float = 10.0) -> list[int]:
    """End the job's processes: TERM, after `grace` seconds KILL. Return those that live on after `limit` seconds."""
    told: set[int] = set()
    begun = time.monotonic()
    while left := processes_of(record, status):
        late = time.monotonic() - begun
        if late > limit:
            return sorted(left)
        press(left, told, hard=late > grace)
        time.sleep(0.02)
    return []


def prove_gone(record: Record, status: dict[str, Any], limit: float = 5.0) -> list[int]:
    """Wait until runner, processes and ports of an ended job are gone. Return what is left after `limit` seconds."""
    end = time.monotonic() + limit
    while runner_alive(status) and time.monotonic() < end:
        time.sleep(0.005)
    if runner_alive(status):
        return [status["runner_pid"]]
    left = sweep(record, status, limit=limit)
    address = status.get("address") or {"ports": {}}
    host, settled = address.get("host") or record.data.get("host") or "127.0.0.1", time.monotonic() + 1
    while not left and time.monotonic() < settled:  # a port that stays taken is another program's by now
        if all(port_free(host, port) for port in address["ports"].values()):
            break
        time.sleep(0.02)
    return left
