"""What is known of a job now: by its record, by its runner, or by the scheduler that holds it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .debts import together
from .record import Record
from .status import Status, state_of
from .sweep import here, settle


@dataclass(frozen=True)
class JobInfo:
    """One line of `ps`. Times are seconds since 1970, None where there is none yet.

    `url`, and `gpus` as CUDA_VISIBLE_DEVICES names them if the launcher has chosen some, are None after the end.
    """

    id: str
    name: str
    launcher: str
    state: Status
    ready: bool
    jobid: int | str | None
    url: str | None
    created: float
    started: float | None
    ended: float | None
    exit_code: int | None
    reason: str | None
    detached: bool
    gpus: str | None
    log: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def info(record: Record) -> JobInfo:
    """Return what is known of a job now."""
    return infos([(record, record.status())])[0]


def infos(found: Iterable[tuple[Record, dict[str, Any]]]) -> list[JobInfo]:
    """Return what is known now of jobs whose status files were just read."""
    settled = [(record, settle(record, status)) for record, status in found]
    asked = _ask([record for record, status in settled if _is_far(record, status)])
    return [_info(record, asked.get(record.id) or (state_of(status), status)) for record, status in settled]


def _is_far(record: Record, status: dict[str, Any]) -> bool:
    """Say whether only its launcher can tell how a job stands: it has not ended, and nothing of it is here."""
    return not state_of(status).ended and bool(record.jobid) and (not status or not here(status))


def _ask(found: Iterable[Record]) -> dict[str, tuple[Status, dict[str, Any]]]:
    """Return {id: state and status}, as their launchers tell; nothing of jobs whose launcher is not installed."""
    told: dict[str, tuple[Status, dict[str, Any]]] = {}
    for jobs in together(found):
        try:
            jobs[0].launcher.expect(jobs)
        except Exception as error:
            jobs[0]._doubt(error)
        for job in jobs:
            record, state = job.demand_record(), job.status
            waiting = {} if state.ended or not job.waiting_for else {"reason": job.waiting_for}
            told[record.id] = state, {**job._status, **waiting}
    return told


def _info(record: Record, known: tuple[Status, Mapping[str, Any]]) -> JobInfo:
    state, status = known
    data = record.data
    return JobInfo(
        id=record.id,
        name=data.get("name", ""),
        launcher=data.get("launcher", ""),
        state=state,
        ready=bool(status.get("ready")),
        jobid=record.jobid,
        url=None if state.ended else record.url(status),
        created=data.get("created", 0.0),
        started=status.get("started"),
        ended=status.get("ended"),
        exit_code=status.get("exit_code"),
        reason=status.get("reason"),
        detached=bool(data.get("detached")),
        gpus=None if state.ended else data.get("env", {}).get("CUDA_VISIBLE_DEVICES") or None,
        log=str(record.log),
    )
