"""The base of all launchers, with what a launcher's author has to write: `submit`, `query`, `cancel`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from ..errors import InputError
from ..registry import Registered
from .command import Arg, Command
from .job import Job
from .status import Status
from .view import JobView


class LazyLLMLaunchersBase(Registered):
    """A place where jobs run.

    A launcher of a scheduler that starts `runner_argv(job)` on one of its nodes is written so::

        class QueueLauncher(LazyLLMLaunchersBase):
            def submit(self, job):
                return my_queue.submit(job.runner_argv(), log=job.record.log)    # its id, which is kept in the record

            def query(self, job):                                                # None: cannot tell just now
                return {"waiting": Status.InQueue, "gone": Status.Failed}.get(my_queue.state(job.jobid))

            def cancel(self, job, force=False):
                my_queue.cancel(job.jobid)

    Args:
        sync: `launch` waits for the job's end (and returns its result), or returns once the job is started.
    """

    owned: ClassVar[bool] = False
    """Whether a job that is not detached ends with the process that started it."""
    host: str = "127.0.0.1"
    """The address that servers bind."""
    grace: float = 5.0
    """Seconds between asking a job's processes to end and killing them."""

    def __init__(self, sync: bool = True) -> None:
        if not isinstance(sync, bool):
            raise InputError(f"sync is True or False, not {sync!r}.")
        self.sync = sync

    def submit(self, job: Job) -> str | None:
        """Have `job.runner_argv()` run, and return the id it goes by there; None if its PID will do."""
        raise NotImplementedError

    def query(self, job: JobView) -> Status | None:
        """Return the state of a job whose record names no end; None if it cannot be told, or the record is right."""
        raise NotImplementedError

    def cancel(self, job: Job, force: bool = False) -> None:
        """Ask for the job's end (the runner ends it at SIGTERM, the hard way at a second one) and return at once."""
        raise NotImplementedError

    def watch(self, job: Job, seconds: float) -> bool:
        """Wait up to `seconds` for news of a running job; True if its record should be read again."""
        time.sleep(seconds)
        return True

    def release(self, job: Job) -> None:
        """Let go of what is held for a job that has ended."""

    def environment(self) -> dict[str, str]:
        """Return the variables that the job gets, chosen at its start."""
        return {}

    @classmethod
    def short_name(cls) -> str:
        """The name under `lazyllm.launchers`."""
        return cls.__name__.lower().removesuffix("launcher")

    def makejob(
        self, cmd: Command | str | Iterable[Arg] | Callable[..., Any], *, name: str | None = None, detach: bool = False
    ) -> Job:
        """Return a job that is not started yet.

        Args:
            cmd: a Command, an argv list, or shell text.
            name: what it is called in listings and messages; by default the command's title or program.
            detach: the job outlives this process.
        """
        if callable(cmd):
            raise InputError(f"launchers.{self.short_name()} runs commands, not Python objects such as {cmd!r}.")
        return Job(Command.of(cmd), self, name=name, detach=detach)

    def launch(self, job: Any, *args: Any, **kw: Any) -> Any:
        """Run a job, or what `makejob` takes, and return its value.

        With `sync` that is at its end, and a JobError if it failed; else once it is started.
        Arguments go to a callable.
        """
        job = self._job_of(job, args, kw)
        job.start()
        if self.sync and not job.shown_only:
            job.wait()
        return job.return_value

    def _job_of(self, job: Any, args: tuple[Any, ...], kw: dict[str, Any]) -> Any:
        if args or kw:
            raise InputError(f"Only a Python callable takes arguments, {job!r} does not.")
        return job if isinstance(job, Job) else self.makejob(job)
