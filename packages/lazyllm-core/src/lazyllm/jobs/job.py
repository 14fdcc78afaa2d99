"""A job: a command that a launcher runs, held by the process that started it or by one that adopted its record."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any, cast

from ..common.log import LOG
from ..errors import InputError, JobError, JobTimeoutError, LauncherError, LazyLLMError
from . import recording, runner
from .command import Command
from .keys import guarded
from .naming import name_of, text_of
from .record import Record
from .status import Status, state_of
from .sweep import here, prove_gone, signal_runner
from .view import JobView
from .watch import Watcher

if TYPE_CHECKING:
    from .launcher import LazyLLMLaunchersBase

TOLD_AFTER = 3.0
"""Seconds of waiting for a job's end after which it is said what is waited for."""
CANCELLED_WITHIN = 10.0
"""Seconds that a launcher has to take a job from its queue, once asked for the second time."""

_owned: weakref.WeakSet[Job] = weakref.WeakSet()


class Job(JobView):
    """One run of a command.

    Attributes:
        detach: the job outlives this process. Jobs of a launcher that is not `owned` always do.
        output_hooks: callables that get each line of output as it comes, in a thread of the job's own.
        quiet: show no output; set it before the start.
        handle: the launcher's own.
    """

    def __init__(
        self, cmd: Command, launcher: LazyLLMLaunchersBase, *, name: str | None = None, detach: bool = False
    ) -> None:
        if not isinstance(name, str | None):
            raise InputError(f"name={name!r} is no text; a job is called by one, or by None for its program's.")
        super().__init__(cmd, launcher, name or name_of(cmd), None)
        self._init(detach)

    def _init(self, detach: bool) -> None:
        self.detach = detach
        self.output_hooks: list[Callable[[str], Any]] = []
        self.quiet = False
        self.handle: Any = None
        self.awaited = 0  # how many threads wait for it
        self._stopped = False  # by this object
        self._watcher: Watcher | None = None
        self._creator = os.getpid()

    @classmethod
    def adopt(cls, record: Record, launcher: LazyLLMLaunchersBase | None = None) -> Job:
        """Return the job of a record that any process made, under the launcher that it names; a JobError if damaged."""
        record.demand_sound()
        if launcher is None:
            from ..registry.group import find_group

            name = record.data["launcher"]
            with _wrapped(f"launchers.{name} cannot be made, so job {record.id} is out of reach"):
                launcher = cast("LazyLLMLaunchersBase", getattr(find_group("launchers"), name)())
        job = cls.__new__(cls)
        JobView.__init__(job, None, launcher, record.data["name"], record)
        job._init(detach=True)
        job.quiet = True
        return job

    def runner_argv(self) -> list[str]:
        """Return the command line that runs this job, wherever its record folder can be seen."""
        return [self.launcher.python, "-I", "-S", runner.__file__, str(self.demand_record().folder)]

    def runner_environment(self) -> dict[str, str]:
        """Return the variables to add to what the runner is started with.

        A job that outlives its starter is marked as one of its own, or else a job from within which it was started
        would end it as part of itself. Others need none: they end with the job around them.
        """
        record = self.demand_record()
        mark, detached = os.fsdecode(runner.MARK), os.fsdecode(runner.DETACHED)
        return {mark: record.id, detached: record.id} if record.data["detached"] else {}

    def submission(self) -> str:
        """Return what `start` would give to the launcher's scheduler, as one would type it; "" if there is none.

        The record that is yet to be made stands in it as `JOB`. If the launcher cannot tell here, why is logged, and ""
        returned.
        """
        if self.command is None:
            raise JobError(f"Job {self.name!r} was started by another process.")
        planned = copy(self)
        detached = self.detach or not self.launcher.owned
        grace = max(self.launcher.grace, self.command.grace)
        planned.record = recording.planned(self.command, detached=detached, grace=grace)
        try:
            with _wrapped(f"launchers.{self.launcher.short_name()} cannot tell how it would submit job {self.name!r}"):
                return self.launcher.submission(planned)
        except LauncherError as error:
            LOG.warning("The submission cannot be shown: %s", error)
            return ""

    def start(self) -> None:
        """Start the job. Returns when it is known to run (or to wait in a queue).

        Raises:
            JobError: a program, working folder or wished port that cannot be had; the job was started before.
            LauncherError: the launcher or the record folder cannot take it.
        """
        command = self.command
        if self.record is not None or command is None:
            raise JobError(f"Job {self.name!r} was started before; make another one to run it again.")
        LOG.info("Command: %s", text_of(command))
        if self.shown_only:
            if handed := self.submission():
                LOG.info("Submission: %s", handed)
            return
        launcher, who = self.launcher, f"launchers.{self.launcher.short_name()}"
        owned = launcher.owned and not self.detach
        with _wrapped(f"{who} cannot take job {self.name!r}"):
            variables = launcher.environment()
        host = command.host or launcher.host
        command = self.command = guarded(command, host)
        try:
            self.record = recording.create(
                command,
                name=self.name,
                launcher=launcher.short_name(),
                env=variables,
                owner=recording.owner() if owned else None,
                detached=not owned,
                host=host,
                grace=max(launcher.grace, command.grace),
                timeout=launcher.timeout,
                notify=launcher.notified,
            )
            with _wrapped(f"{who} could not submit job {self.name!r}"):
                jobid = launcher.submit(self)
        except BaseException as error:
            if self.record:
                why = error.message if isinstance(error, LazyLLMError) else str(error) or type(error).__name__
                self.record.finish(Status.Failed, f"not started: {why}", unconfirmed=bool(self.record.jobid))
            with _logged(f"{who} could not let go of job {self.name!r}"):
                launcher.release(self)
            raise
        if jobid:
            self.record.submitted(str(jobid))
        if owned:
            _stop_at_exit(self)
        if launcher.owned and not jobid:
            self._begun()
        else:
            self._watch()
        LOG.info("Job %s: %s %s, output in %s", self.id, "id" if jobid else "PID", self.jobid, self.record.log)

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
        left = prove_gone(self.record, self._status) if here(self._status) else self._status.get("left")
        if self._watcher:
            self._watcher.join(5)
        if left:
            raise JobError(
                f"Job {self.id} ({self.name}): processes {left} would not end.", hint="ps -fp PID tells more."
            )

    def ask_to_end(self, force: bool = False) -> None:
        """Begin to stop the job and return at once; asking twice is asking once."""
        if self._stopped and not force:
            return
        self._stopped = True
        record = self.demand_record()
        record.ask_to_end()
        if force and signal_runner(record.status(), force=True):
            return
        try:
            with _wrapped(f"launchers.{self.launcher.short_name()} could not cancel job {self.id} ({self.name})"):
                self.launcher.cancel(self, force=force)
        except LazyLLMError as error:
            status = record.status()
            told = state_of(status).ended or status.get("reads_notes") or signal_runner(status, force)
            if not told:
                self._stopped = False
                record.ask_to_end(False)
                raise
            LOG.warning("%s The job's own runner was told to end it.", error)

    def _stop(self, force: bool) -> None:
        grace = float(self.demand_record().data.get("grace", 5.0))
        try:
            self.ask_to_end(force)
            if self._ended_within(grace + 2):
                return
            LOG.warning("Job %s (%s) has not ended within %g s: killing it.", self.id, self.name, grace + 2)
        except KeyboardInterrupt:
            LOG.warning("Interrupted again: killing job %s (%s).", self.id, self.name)
        self.ask_to_end(force=True)
        never_ran = not self._status.get("runner_pid")
        if not self._ended_within((0 if force else CANCELLED_WITHIN) if never_ran else grace + 25):
            raise JobError(
                f"Job {self.id} ({self.name}) does not end; its state is {self.status}.",
                hint=f"lazyllm stop --force {self.id} closes its record all the same.",
            )

    def _ended_within(self, seconds: float) -> bool:
        begun, pause, told = time.monotonic(), 0.002, False
        while not (state := self._refresh()).ended:
            waited = time.monotonic() - begun
            if waited > seconds:
                return False
            if waited > TOLD_AFTER and not told:
                told, who = True, self.launcher.short_name()
                LOG.info("Waiting up to %g s for launchers.%s to end job %s (%s).", seconds, who, self.id, state)
            time.sleep(pause)
            pause = min(pause * 1.5, 0.1)
        return True

    def _await(self, reached: Callable[[], bool], timeout: float | None, what: str) -> None:
        """Wait until `reached`, or the end. An interrupt from the keyboard stops the job, a second one kills it."""
        self.awaited += 1
        try:
            if not self._watch().wait_for(reached, timeout):
                raise JobTimeoutError(f"Job {self.name!r} ({self.id}) did not {what} within {timeout:g} s; it goes on.")
        except KeyboardInterrupt:
            if self._owned_here():
                LOG.warning("Interrupted: stopping job %s (%s). Again: kill it.", self.id, self.name)
                self.stop()
            raise
        finally:
            self.awaited -= 1

    def _owned_here(self) -> bool:
        return self.command is not None and os.getpid() == self._creator

    def _watch(self) -> Watcher:
        if self._watcher is None or not (self._watcher.over or self._watcher.alive):
            self.demand_record()
            self._watcher = Watcher(self)
        return self._watcher


@contextmanager
def _wrapped(what: str) -> Iterator[None]:
    """Turn a launcher's own exceptions into a LauncherError that says what failed and why."""
    try:
        yield
    except LazyLLMError:
        raise
    except Exception as error:
        raise LauncherError(f"{what}: {type(error).__name__}: {error}") from error


@contextmanager
def _logged(what: str) -> Iterator[None]:
    """Log a launcher's own exception where another error is already on its way."""
    try:
        yield
    except Exception as error:
        LOG.warning("%s: %s", what, error)


def _stop_at_exit(job: Job) -> None:
    if not _owned:
        import atexit

        atexit.unregister(_stop_all)
        atexit.register(_stop_all)
    _owned.add(job)


def _stop_all() -> None:
    """At the interpreter's end: ask all jobs of this process to end, then see them gone."""
    mine = [job for job in _owned if job._owned_here() and not job.status.ended]
    for end in (Job.ask_to_end, Job.stop):
        for job in mine:
            try:
                end(job)
            except (JobError, LauncherError) as error:
                LOG.warning("%s", error)
