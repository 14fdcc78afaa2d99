"""Job records: one folder a job under `<LAZYLLM_HOME>/jobs`, which any process of the same user can read.

job.json is written once, by the launcher; status.json is replaced by the runner at each change; output.log grows.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from ..common.log import LOG
from ..configs import config
from ..errors import ConfigError, JobError
from .runner import remove, write_json
from .shape import damage, sound
from .status import Status, state_of

KEPT, KEPT_DAYS = 1000, 30

_passed_over: set[Path] = set()


class Record:
    """One job's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = folder.name
        self._submitted: str | None = None

    def __repr__(self) -> str:
        return f"<Record {self.id} {self.data.get('name')!r} {self.state}>"

    @cached_property
    def data(self) -> dict[str, Any]:
        """job.json; empty if the folder is no record."""
        return _read(self.folder / "job.json")

    @property
    def log(self) -> Path:
        return self.folder / "output.log"

    @property
    def age(self) -> float:
        """Seconds since the record was made."""
        return time.time() - float(self.data.get("created", 0))

    def status(self) -> dict[str, Any]:
        """status.json as it is now, without fields that cannot be right; empty before the runner has begun."""
        return sound(_read(self.folder / "status.json"))

    def demand_sound(self) -> None:
        """Raise a JobError if job.json was damaged: nothing can be done with the job then."""
        if wrong := damage(self.data):
            raise JobError(
                f"The record of job {self.id} is damaged: {wrong}.", hint=f"Mend or remove the folder {self.folder}."
            )

    @property
    def state(self) -> Status:
        """The state last written. A runner that was killed leaves Running; `sweep.settle` finds that out."""
        return state_of(self.status())

    @property
    def jobid(self) -> int | str | None:
        """The scheduler's id, or the PID of the step that runs or ran last."""
        if self._submitted is None and not self.data.get("notify"):  # a runner that notifies has no scheduler
            self._submitted = str(_read(self.folder / "submitted.json").get("jobid") or "")
        return self._submitted or self.status().get("pid")

    @property
    def stopping(self) -> bool:
        """Whether somebody asked for the job's end."""
        return (self.folder / "stopping").exists()

    def ask_to_end(self, wish: bool = True) -> None:
        """Note that the job's end is asked for, or that this came to nothing.

        Whoever sees the job gone knows why then, and a scheduler that starts it even so starts nothing.
        """
        note = self.folder / "stopping"
        with suppress(OSError):
            if wish:
                note.touch(mode=0o600)
            else:
                note.unlink()

    def submitted(self, jobid: str) -> None:
        """Keep what the scheduler calls this job."""
        write_json(str(self.folder / "submitted.json"), {"jobid": jobid})
        self._submitted = jobid

    def url(self, status: Mapping[str, Any]) -> str | None:
        """The service's URL in `status`; None if the job serves nothing or its address is not known yet."""
        service, address = self.data.get("service"), status.get("address")
        if not service or not address or service["port"] not in address["ports"]:
            return None
        host = f"[{address['host']}]" if ":" in address["host"] else address["host"]
        return f"http://{host}:{address['ports'][service['port']]}{service['path']}"

    def finish(self, state: Status, reason: str, *, unconfirmed: bool = False) -> dict[str, Any]:
        """Write the final status in the runner's stead, and remove what has no meaning any more.

        With `unconfirmed` a scheduler may hold the job even so: its launcher's `leftovers` is asked about it later.
        What cannot be written or removed (a full disk) is logged: the status that is returned is true all the same.
        """
        status = self.status()
        if state_of(status).ended:
            return status
        status.update(state=state.value, phase="ended", ready=False, reason=reason, ended=time.time())
        if unconfirmed:
            status["unconfirmed"] = True
        try:
            write_json(str(self.folder / "status.json"), status)
            for path in (self.folder / "secrets.json", *self.data.get("scratch", ())):
                remove(os.path.join(self.data.get("cwd") or "/", path))  # noqa: PTH118 (as the runner has it)
        except (OSError, ValueError) as error:  # ValueError: no path can be called so
            LOG.warning("The end of job %s (%s) cannot be recorded: %s.", self.id, reason, error)
        return status

    def confirmed(self) -> None:
        """Note of a job that has ended that its scheduler holds nothing of it any more."""
        status = self.status()
        if status.pop("unconfirmed", None) is not None:
            with suppress(OSError):  # then it is asked about once more
                write_json(str(self.folder / "status.json"), status)


def jobs_folder() -> Path:
    return config.home / "jobs"


def records() -> Iterator[Record]:
    """Yield all records but damaged ones, in no order; a ConfigError if their folder cannot be read."""
    try:
        with os.scandir(jobs_folder()) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".")]
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(
            f"The jobs under {jobs_folder()} cannot be listed: {error.strerror or error}.",
            hint="Let LAZYLLM_HOME name a folder of yours.",
        ) from None
    for name in names:
        record = Record(jobs_folder() / name)
        if _is_ours(record):
            yield record


def _is_ours(record: Record) -> bool:
    wrong = None if record.data else _unreadable(record.folder / "job.json")
    if wrong is None:
        if record.data.get("version") != 1 or record.data.get("id") != record.id:
            return False
        wrong = damage(record.data)
    if wrong and record.folder not in _passed_over:
        _passed_over.add(record.folder)
        LOG.warning("The record %s is damaged and passed over: %s.", record.folder, wrong)
    return wrong is None


def _unreadable(path: Path) -> str | None:
    try:
        return "job.json holds no JSON object" if path.stat().st_size else "job.json is empty"
    except OSError:
        return None


def prune(found: Iterable[tuple[Record, dict[str, Any]]] | None = None) -> int:
    """Remove records of jobs that ended over 30 days ago or are not among the 1,000 latest. Return how many.

    Args:
        found: the records with their statuses, if the caller has read them; the `data` of a removed one is empty then.
    """
    found = ((record, record.status()) for record in records()) if found is None else found
    ended = [(_end_of(record, status), record) for record, status in found if state_of(status).ended]
    ended.sort(key=lambda pair: pair[0], reverse=True)
    oldest = time.time() - KEPT_DAYS * 86400
    gone = [record for n, (when, record) in enumerate(ended) if n >= KEPT or when < oldest]
    for record in gone:
        remove(str(record.folder))
        record.data = {}
    return len(gone) + _remove_unfinished()


def _end_of(record: Record, status: Mapping[str, Any]) -> float:
    """Return when a job ended; its beginning if that cannot be told."""
    return float(status.get("ended") or record.data.get("created") or 0)


def _remove_unfinished() -> int:
    """Remove records whose writing was interrupted more than an hour ago."""
    gone = 0
    for path in jobs_folder().glob(".new-*"):
        with suppress(OSError):  # it has its final name by now
            if path.stat().st_mtime < time.time() - 3600:
                remove(str(path))
                gone += 1
    return gone


def _read(path: Path) -> dict[str, Any]:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # somebody may have put a pipe there
            data = json.loads(file.read())
    except (OSError, ValueError, TypeError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
