"""What is known of a job: read from its record, with the launcher asked where that says too little."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.log import LOG
from ..configs import config
from ..errors import JobError
from .command import Command
from .keys import key_file
from .output import last_words, tail
from .record import Record
from .status import Status, state_of
from .sweep import gone, settle

if TYPE_CHECKING:
    from .launcher import LazyLLMLaunchersBase


class JobView:
    """The reading half of a `Job`.

    Attributes:
        command: what it runs; None if the job was adopted from its record.
        launcher: the launcher that it runs under.
        name: what it is called in listings and messages.
        record: its folder; None before the start and in display mode.
        waiting_for: why it waits in a queue, in words, as its launcher last said; "" if it does not, or gave no reason.
    """

    def __init__(
        self, command: Command | None, launcher: LazyLLMLaunchersBase, name: str, record: Record | None
    ) -> None:
        self.command = command
        self.launcher = launcher
        self.name = name
        self.record = record
        self.waiting_for = ""
        self._status: dict[str, Any] = {}
        self._doubted = False

    def __repr__(self) -> str:
        return f"<Job {self.name!r} {self.id or 'not started'} {self.status}>"

    @property
    def shown_only(self) -> bool:
        """Whether this run only shows commands (`config['mode']` is `display`)."""
        return self.record is None and config["mode"] == "display"

    @property
    def status(self) -> Status:
        """The state as it is now."""
        return Status.TBSubmitted if self.record is None else self._refresh()

    @property
    def id(self) -> str | None:
        """The record's id."""
        return self.record.id if self.record else None

    @property
    def jobid(self) -> int | str | None:
        """The id under this launcher: a PID (a number), or what the scheduler calls it (text)."""
        return self.record.jobid if self.record else None

    @property
    def ip(self) -> str:
        """The address of the machine that the job runs on."""
        return self.get_jobip()

    def get_jobip(self) -> str:
        """Return the address of the machine that the job runs on; a JobError before it is known."""
        if self.shown_only:
            return "{ip}"
        address = self.details().get("address")
        if not address:
            raise self._too_early("address")
        return str(address["host"])

    @property
    def url(self) -> str:
        """The URL of the job's service; a JobError before it is known."""
        if self.serves is None:
            raise JobError(f"Job {self.name!r} serves nothing, so it has no URL.")
        if self.shown_only:
            return f"http://{{ip}}:{{port}}{self.serves['path']}"
        url = self.demand_record().url(self.details())
        if url is None:
            raise self._too_early("URL")
        return url

    @property
    def serves(self) -> dict[str, Any] | None:
        """The service's port name, path, protocol, health and timeout; None if the job serves nothing."""
        described = self.command.to_json() if self.command else self.demand_record().data
        service: dict[str, Any] | None = described.get("service")
        return service

    @property
    def return_value(self) -> Any:
        """The service's URL (None before it is known), what a function returned, or else the command's result."""
        if self.serves is None:
            described = self.command.to_json() if self.command else self.demand_record().data
            return self._returned() if described.get("returns") else described.get("result")
        return self.url if self.shown_only else self.demand_record().url(self.details())

    def _returned(self) -> Any:
        """Return what a function's call left behind; None before its end."""
        if self.record is None:
            return None
        path = self.record.folder / "result.json"
        try:
            return json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise JobError(
                f"What job {self.name!r} ({self.id}) returned cannot be read: {error}.",
                hint=f"{path} should hold one JSON value; run the job again if it does not.",
            ) from None

    @property
    def key_file(self) -> Path | None:
        """The file, readable by its owner alone, with the API key that the job's server demands; None without key."""
        return key_file(self.demand_record())

    @property
    def log(self) -> Path:
        """The file that holds the job's output."""
        return self.demand_record().log

    def output(self, tail: int | None = None) -> str:
        """Return what the job wrote, or its last `tail` lines."""
        return self.log.read_text("utf-8", "replace") if tail is None else _last_lines(self.log, tail)

    def details(self) -> dict[str, Any]:
        """Return a copy of the job's status.json, as it is now."""
        self._refresh()
        return dict(self._status)

    def demand_record(self) -> Record:
        """Return the job's record; a JobError before its start."""
        if self.record is None:
            raise JobError(f"Job {self.name!r} has not been started.", hint="Call start() first.")
        return self.record

    def _too_early(self, what: str) -> JobError:
        return JobError(
            f"Job {self.name!r} has no {what} yet; its state is {self.status}.", hint="Call wait_ready() first."
        )

    def _refresh(self) -> Status:
        """Read the record again, asking the launcher where it names no end."""
        record = self.demand_record()
        if (state := state_of(self._status)).ended:
            return state
        self._status = settle(record)
        if (state := state_of(self._status)).ended:
            return state
        asked = self._asked()
        if asked is None and self.launcher.notified:
            return state
        if asked is not None and not asked.ended:
            return asked
        self._status = settle(record)  # the runner may have written a word meanwhile, its last one too
        if asked is not None and not state_of(self._status).ended:
            self._status = self._end_as(asked)
        return state_of(self._status)

    def _asked(self) -> Status | None:
        """Return what the launcher says; None if it cannot tell, an error of its own included."""
        try:
            told = self.launcher.query(self)
            return None if told is None else Status(told)
        except Exception as error:
            self._doubt(error)
            return None

    def _doubt(self, error: Exception) -> None:
        """Log, once for this job, why its launcher cannot tell how it stands."""
        if not self._doubted:
            self._doubted = True
            who, words = self.launcher.short_name(), str(error) or type(error).__name__
            LOG.warning("launchers.%s cannot tell how job %s stands (%s); it will be asked again.", who, self.id, words)

    def _end_as(self, asked: Status) -> dict[str, Any]:
        """Write the end of a job that its launcher says is over, though no runner has written one."""
        record = self.demand_record()
        ran = bool(self._status.get("runner_pid"))
        state, reason = gone(record, "runner died" if ran else "the launcher dropped it before it ran")
        if asked is Status.Cancelled and not record.stopping:
            state, reason = asked, "cancelled under its launcher"
        return record.finish(state, reason)

    def _error(self) -> JobError:
        """Return the error that says how the job ended, with its last lines."""
        status, record = self.details(), self.demand_record()
        return JobError(
            f"Job {self.name!r} ({self.id}): {status.get('reason') or 'ended before it was ready'}.",
            hint=status.get("hint") or f"The whole output: {record.log}",
            exit_code=status.get("exit_code"),
            output=last_words(record.log),
        )


def _last_lines(path: Path, count: int) -> str:
    return "\n".join(tail(path, count))
