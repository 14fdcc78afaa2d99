"""A job: a command that a launcher runs, held by the process that started it or by one that adopted its record."""

from __future__ import annotations

import os
import sys
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..common.log import LOG
from ..errors import JobError
from . import record as records
from . import runner
from .command import Command
from .record import Record
from .status import JobTimeoutError, Status
from .sweep import here, prove_gone
from .view import JobView
from .watch import Watcher

if TYPE_CHECKING:
    from .launcher import LazyLLMLaunchersBase

_owned: weakref.WeakSet[Job] = weakref.WeakSet()


class Job(JobView):
    """One run of a command.

    Attributes:
        detach: the job outlives this process.
        output_hooks: callables that get each line of output as it comes, in a thread of the job's own.
        quiet: show no output; set it before the start.
        handle: the launcher's own.
    """

    def __init__(
        self, cmd: Command, launcher: LazyLLMLaunchersBase, *, name: str | None = None, detach: bool = False
    ) -> None:
        super().__init__(cmd, launcher, name or _name_of(cmd), None)
        self._init(detach)

    def _init(self, detach: bool) -> None:
        self.detach = detach
        self.output_hooks: list[Callable[[str], Any]] = []
        self.quiet = False
        self.handle: Any = None
        self._stopped = False  # by this object
        self._watcher: Watcher | None = None
        self._creator = os.getpid()

    @classmethod
    def adopt(cls, record: Record, launcher: LazyLLMLaunchersBase | None = None) -> Job:
        """Return the job of a record that this or another process made; `launcher` is by default the one it names."""
        if launcher is None:
            from ..registry.group import find_group

            launcher = getattr(find_group("launchers"), record.data["launcher"])()
        job = cls.__new__(cls)
        JobView.__init__(job, None, launcher, record.data["name"], record)
        job._init(detach=True)
        job.quiet = True
        return job

    def runner_argv(self) -> list[str]:
        """Return the command line that runs this job, wherever its record folder can be seen."""
        return [sys.executable, "-I", "-S", runner.__file__, str(self._started().folder)]

    def start(self) -> None:
        """Start the job. Returns when it is known to run (or to wait in a queue).

        Raises:
            JobError: a program, working folder or wished port that cannot be had; the job was started before.
            LauncherError: the launcher or the record folder cannot take it.
        """
        command = self.command
        if self.record is not None or command is None:
            raise JobError(f"Job {self.name!r} was started before; make another one to run it again.")
        LOG.info("Command: %s", _text_of(command))
        if self.shown_only:
            return
        owned = self.launcher.owned and not self.detach
        self.record = records.create(
            command,
            name=self.name,
            launcher=self.launcher.short_name(),
            env=self.launcher.environment(),
            owner=records.owner() if owned else None,
            detached=self.detach,
            host=self.launcher.host,
            grace=self.launcher.grace,
            notify=self.launcher.owned,
        )
        try:
            jobid = self.launcher.submit(self)
        except BaseException as error:
            self.record.finish(Status.Failed, f"not started: {error}")
            raise
        if jobid:
            self.record.submitted(jobid)
        if owned:
            _stop_at_exit(self)
        if self.launcher.owned:
            self._begun()
        else:
            self._watch()
        kind = "PID" if self.launcher.owned else "id"
        LOG.info("Job %s: %s %s, output in %s", self.id, kind, self.jobid, self.record.log)

    def _begun(self) -> None:
        """Wait for the runner's first word about the first program."""
        self._await(lambda: bool(self._status.get("pid")), None, "start")
        if not self._status.get("pid"):
            raise self._error()

    def wait(self, timeout: float | None = None) -> Status:
        """Wait for the end and return the state: Done, or Cancelled if this object's `stop` ended it.

        Raises:
            JobError: the job failed, or was stopped from elsewhere.
            JobTimeoutError: `timeout` seconds are over; the job goes on.
        """
        if self.shown_only:
            return self.status
        self._await(lambda: False, timeout, "end")
        if self.status is Status.Failed or (self.status is Status.Cancelled and not self._stopped):
            raise self._error()
        return self.status

    def wait_ready(self, timeout: float | None = None) -> Status:
        """Wait until the job's service answers (or, without a service, until it runs); errors as `wait`."""
        if self.shown_only:
            return self.status
        phases = ("running", "ready", "ended") if self.serves is None else ("ready",)
        self._await(lambda: self._status.get("phase") in phases, timeout, "get ready")
        if self._status.get("phase") not in phases or self.status is Status.Failed:
            raise self._error()
        return self.status

    def stop(self, force: bool = False) -> None:
        """End the job with all that it started. Returns when its processes and ports are gone; no error if they were.

        Args:
            force: kill at once, without the grace.

        Raises:
            JobError: some process would not die; the message names it.
        """
        if self.record is None:
            return
        if not self._refresh().ended:
            self._stop(force)
        left = list(self._status.get("left") or ())
        if here(self._status):
            left = prove_gone(self.record, self._status)
        if self._watcher:
            self._watcher.join(5)
        if left:
            raise JobError(
                f"Job {self.id} ({self.name}): processes {left} would not end.", hint="ps -fp PID tells more."
            )

    def ask_to_end(self, force: bool = False) -> None:
        """Begin to stop the job and return at once; asking twice is asking once."""
        if force or not self._stopped:
            self._stopped = True
            self.launcher.cancel(self, force=force)

    def _stop(self, force: bool) -> None:
        grace = float(self._started().data.get("grace", 5.0))
        try:
            self.ask_to_end(force)
            if self._ended_within(grace + 2):
                return
        except KeyboardInterrupt:
            LOG.warning("Interrupted again: killing job %s (%s).", self.id, self.name)
        self.ask_to_end(force=True)
        if not self._ended_within(grace + 25):
            raise JobError(
                f"Job {self.id} ({self.name}) does not end; its state is {self.status}.", hint="lazyllm reap"
            )

    def _ended_within(self, seconds: float) -> bool:
        end, pause = time.monotonic() + seconds, 0.002
        while not self._refresh().ended:
            if time.monotonic() > end:
                return False
            time.sleep(pause)
            pause = min(pause * 1.5, 0.1)
        return True

    def _await(self, reached: Callable[[], bool], timeout: float | None, what: str) -> None:
        """Wait until `reached`, or the end. An interrupt from the keyboard stops the job, a second one kills it."""
        try:
            if not self._watch().wait_for(reached, timeout):
                raise JobTimeoutError(f"Job {self.name!r} ({self.id}) did not {what} within {timeout:g} s; it goes on.")
        except KeyboardInterrupt:
            if self._owned_here():
                LOG.warning("Interrupted: stopping job %s (%s). Again: kill it.", self.id, self.name)
                self.stop()
            raise

    def _owned_here(self) -> bool:
        return self.command is not None and os.getpid() == self._creator

    def _watch(self) -> Watcher:
        if self._watcher is None or not (self._watcher.over or self._watcher.alive):
            self._started()
            self._watcher = Watcher(self)
        return self._watcher


def _name_of(cmd: Command) -> str:
    if cmd.title:
        return cmd.title if len(cmd.title) <= 60 else cmd.title[:59] + "…"
    return os.path.basename(str(cmd.steps[0].argv[0])) or "job"  # noqa: PTH119


def _text_of(cmd: Command) -> str:
    """Return the author's own text of a shell command, or else the command line as one would type it."""
    argv = cmd.steps[0].argv
    shell = len(cmd.steps) == 1 and len(argv) == 3 and argv[:2] == ("bash", "-c")
    text = str(argv[2]) if shell and not cmd.env else cmd.show()
    return text.encode("utf-8", "backslashreplace").decode()  # bytes that are no text can be passed on, not written


def _stop_at_exit(job: Job) -> None:
    if not _owned:
        import atexit

        atexit.unregister(_stop_all)
        atexit.register(_stop_all)
    _owned.add(job)


def _stop_all() -> None:
    """At the interpreter's end: ask all jobs of this process to end, then see them gone."""
    mine = [job for job in _owned if job._owned_here() and not job.status.ended]
    for job in mine:
        job.ask_to_end()
    for job in mine:
        try:
            job.stop()
        except JobError as error:
            LOG.warning("%s", error)
