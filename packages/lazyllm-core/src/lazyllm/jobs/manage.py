"""All jobs of this user, from any process: list, find, read, stop them, and end what dead ones left behind."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from ..errors import InputError, LazyLLMError, near
from . import record as records
from .debts import clear, together
from .ending import close_if_absent, end
from .keys import API_KEY, key_file
from .output import Follower
from .record import Record
from .runner import MARK, environment, port_free, processes, resolve, token
from .status import Status, state_of
from .sweep import here, processes_of, prove_gone, runner_alive, settle, sweep

LISTS = "lazyllm ps --all lists all jobs."
AT_ONCE = 16
"""Jobs that `stop_each` ends at a time."""


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
    return _infos([(record, record.status())])[0]


def _infos(found: Iterable[tuple[Record, dict[str, Any]]]) -> list[JobInfo]:
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
            told[record.id] = state, {**record.status(), **waiting}
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


def ps(running: bool = False) -> list[JobInfo]:
    """Return all jobs, the oldest first; with `running` only those that have not ended. Old records are pruned."""
    everything = [(record, record.status()) for record in records.records()]
    records.prune(everything)
    clear(record for record, status in everything if record.data and status.get("unconfirmed"))
    found = _infos(
        (record, status) for record, status in everything if record.data and not (running and state_of(status).ended)
    )
    return sorted((job for job in found if not (running and job.state.ended)), key=lambda job: (job.created, job.id))


def find(key: str | int) -> Record:
    """Return the record that an id, the beginning of one, a name, a PID, a scheduler's id or a service's URL means.

    Among several jobs of one name or URL the one that runs is meant, or else the latest.

    Raises:
        InputError: nothing or more than one thing is meant.
        JobError: the record that is meant was damaged.
    """
    key = str(key).strip()
    if not key:
        raise InputError("A job is named by its id, its name, a PID or a URL, not by nothing.", hint=LISTS)
    exact = Record(records.jobs_folder() / key) if "/" not in key and not key.startswith(".") else None
    if exact and exact.data.get("id") == key:
        exact.demand_sound()
        return exact
    everything = list(records.records())
    named = [record for record in everything if key in _names(record)]
    if named:
        return _the_one(key, named)
    begins = [record for record in everything if record.id.startswith(key)]
    if len(begins) == 1:
        return begins[0]
    if begins:
        raise InputError(f"{key!r} begins the ids of several jobs: {_ids(begins)}.")
    nearest = near(key, _ids_and_names(everything))
    if not nearest.startswith("Did"):
        running = [record for record in everything if not record.state.ended]
        nearest = near(key, _ids_and_names(running)) if running else "No job runs."
    raise InputError(f"There is no job {key!r}. {nearest}", hint=LISTS)


def _ids_and_names(found: list[Record]) -> list[str]:
    return [name for record in found for name in (record.id, record.data.get("name", "")) if name]


def _names(record: Record) -> set[str]:
    names: set[str] = {record.data.get("name", ""), str(record.jobid or "")}
    if record.data.get("service") and (url := record.url(record.status())):
        base = url.removesuffix(record.data["service"]["path"])
        names |= {url, f"{url}/", base, f"{base}/", base.removeprefix("http://")}
    return names


def _the_one(key: str, found: list[Record]) -> Record:
    running = [record for record in found if not state_of(settle(record)).ended]
    if len(running) > 1:
        raise InputError(f"{key!r} means several running jobs: {_ids(running)}.", hint="Name one by its id.")
    return running[0] if running else max(found, key=lambda record: float(record.data.get("created", 0)))


def _ids(found: list[Record], shown: int = 5) -> str:
    ids = sorted(record.id for record in found)
    return ", ".join(ids[:shown]) + (f" and {len(ids) - shown:,} more" if len(ids) > shown else "")


def key_for(url: str) -> str | None:
    """Return the API key of this user's job that serves `url`; None if no such job runs, or it has no key.

    Other names of the job's machine will do, too.
    """
    try:
        record = _serving(url)
        path = None if info(record).state.ended else key_file(record)
        return str(json.loads(path.read_bytes())[API_KEY]) if path else None
    except (LazyLLMError, OSError, ValueError, KeyError):
        return None


def _serving(url: str) -> Record:
    try:
        return find(url)
    except InputError:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        for record in records.records():
            address = record.status().get("address") or {}
            if port in (address.get("ports") or {}).values() and _same_machine(record, host, address["host"]):
                return record
        raise


def _same_machine(record: Record, host: str, known: str) -> bool:
    """Say whether `host` is another name of the machine that a job's server is `known` under."""
    found = resolve(host)
    if here(record.status()) and record.data.get("host") in ("0.0.0.0", "::"):  # noqa: S104 (compared, not bound)
        return any(port_free(ip, 0) for ip in found)
    return bool({*found} & {*resolve(known)})


def logs(key: str | int, *, follow: bool = False, lines: int | None = None) -> Iterator[str]:
    """Yield the lines of a job's output: all, or the last `lines`; with `follow` also those to come, until its end."""
    record = find(key)
    follower = Follower(record.log)
    if lines is not None:
        follower.skip_to_lines(lines)
    while True:
        over = not follow or state_of(settle(record)).ended
        yield from follower.lines(final=over)
        if over:
            return
        time.sleep(0.1)


def stop(key: str | int, *, force: bool = False) -> JobInfo:
    """End a job, whoever started it, and return what is known of it. Returns when its processes and ports are gone.

    Raises:
        InputError: no such job.
        JobError: some process would not die, or the job cannot be reached.
        LauncherError: its launcher could not cancel it. With `force` the record is closed even so.
    """
    record = find(key)
    end(record, force)
    return info(record)


def stop_each(keys: Iterable[str], *, force: bool = False) -> Iterator[tuple[str, JobInfo | LazyLLMError]]:
    """End several jobs at once, and yield for each, in their order, its key and what `stop` returned or raised."""
    from concurrent.futures import ThreadPoolExecutor

    def one(key: str) -> tuple[str, JobInfo | LazyLLMError]:
        try:
            return key, stop(key, force=force)
        except LazyLLMError as error:
            return key, error

    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(one, dict.fromkeys(keys))


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
    marked, everything = _marked(), list(records.records())
    found = [_reap(record, marked.get(record.id, [])) for record in everything]
    held = clear(record for record in everything if record.status().get("unconfirmed"))
    found += [Reaped(record.id, record.data["name"], "was still held by its scheduler", [], []) for record in held]
    records.prune()
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


prune = records.prune
