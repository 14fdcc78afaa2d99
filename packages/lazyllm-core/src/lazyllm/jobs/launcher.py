"""The base of all launchers, with what a launcher's author has to write: `submit`, `query`, `cancel`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

from ..errors import InputError, LauncherError
from ..registry import Registered
from . import checks
from .command import Arg, Command
from .function import call_of, calls
from .job import Job
from .status import Status
from .view import JobView


class LazyLLMLaunchersBase(Registered):
    """A place where jobs run.

    A launcher of a scheduler that starts `job.runner_argv()` on one of its nodes is written so::

        class QueueLauncher(LazyLLMLaunchersBase):
            def submit(self, job):                       # returns the scheduler's id, which is kept in the record
                env = {**os.environ, **job.runner_environment()}
                return my_queue.submit(job.runner_argv(), env=env, log=job.record.log)

            def query(self, job):                        # None: cannot tell just now
                return {"waiting": Status.InQueue, "gone": Status.Failed}.get(my_queue.state(job.jobid))

            def cancel(self, job, force=False):
                my_queue.cancel(job.jobid)

    These three are needed. The rest has defaults that do:

    - `owned`: jobs end with the process that started them. Only where the runner can see that process (one machine) or
      has a pipe from it as stdin; jobs of other launchers live on, as if started with `detach`.
    - `notified`: `watch` reads the runner's stdout, a pipe, which gets a byte at each change of the job's status.
    - `host`: the address that the job's servers bind, and clients are sent to; None: the node's own, which the runner
      finds there; "127.0.0.1" where all jobs run on this machine. Servers on any but the loopback's get an API key,
      which this user's clients know.
    - `timeout`: seconds that a job may run; waiting in a queue does not count.
    - `python`: the Python >= 3.8 that runs the runner on the node.
    - `grace`: seconds between asking a job's processes to end and killing them; a command may need more, and a job's
      own stand in its record.
    - `environment()`: variables that the job gets. Called before its record is made, so it may refuse the job.
    - `watch(job, seconds)`: wait for news; by default it sleeps and has the record read and `query` asked each time.
    - `release(job)`: let go of what was held for a job that has ended.
    - `submission(job)`: for `--dry-run`, what `submit` would give to the scheduler.
    - `expect(jobs)`: `query` is about to be called for each of them; ask the scheduler about all at once.
    - `leftovers(jobs)`: jobs whose records were closed without the scheduler's word (it was away at `stop --force`);
      `lazyllm ps` and `reap` ask, until each was in the answer.

    What a launcher finds to work with:

    - `job.runner_argv()` and `job.runner_environment()`: the command line to run, and the variables to add to its
      environment; without these a detached job that was started within another job dies with that one.
    - `job.record`: the job's `Record`, its folder, which any process of the user reads; `job.demand_record()` is the
      same, or an error in words before the start. `record.submitted(id)` keeps an id before `submit` returns;
      `record.finish(state, reason)` writes the end of a job whose runner never will.
    - `job.waiting_for`: for `query` to say, in words, why a job waits in its queue, "" if it does not. `lazyllm ps`
      shows it, and it is logged where somebody waits for the job.
    - `job.handle`: the launcher's own, for what lives in this process only; `job.detach`: the user wants the job to
      outlive this process.
    - `lazyllm.jobs.sweep.signal_runner(record.status(), force)`: ends a job whose runner is on this machine.
    - `lazyllm.jobs.checks`, `.tools` and `.polling`: for arguments, a scheduler's programs, and questions to it.
    - `short_name()`: the launcher's name under `lazyllm.launchers`; records and messages have it.
    - `assumed`: the constructor's arguments that a component chose and no user gave; ignore them where they do not fit.

    `query` and `cancel` also serve jobs that other processes started (`lazyllm ps`, `lazyllm stop`): the launcher is
    made without arguments there, and `job` from its record. So whatever they need must be in the record or the
    configuration, and no argument of the constructor may be without a default.

    An error that `query` or `watch` raises counts as "cannot tell"; one of `submit`, `cancel` or `environment` reaches
    the caller, as a LauncherError if it is none of ours.

    Args:
        sync: `launch` waits for the job's end (and returns its result), or returns once the job is started.
    """

    owned: ClassVar[bool] = False
    """Whether a job that is not detached ends with the process that started it."""
    notified: ClassVar[bool] = False
    """Whether `watch` reads the runner's stdout, which gets a byte at each change of the job's status."""
    host: str | None = None
    """The address that servers bind; None for the node's own."""
    timeout: float | None = None
    """Seconds that a job may run; None for any number."""
    python: str = sys.executable
    """The Python >= 3.8 that runs a job's runner."""
    grace: float = 5.0
    """Seconds between asking a job's processes to end and killing them."""
    assumed: frozenset[str] = frozenset()
    """Arguments that no user gave: a component assumed them."""

    def __new__(cls, *args: Any, **kw: Any) -> Self:
        for name in ("submit", "query", "cancel"):
            if getattr(cls, name) is getattr(LazyLLMLaunchersBase, name):
                raise LauncherError(
                    f"launchers.{cls.short_name()} ({cls.__module__}.{cls.__qualname__}) lacks the method {name!r}.",
                    hint="A launcher has submit, query and cancel: help(lazyllm.launcher.LazyLLMLaunchersBase).",
                )
        return super().__new__(cls)

    def __init__(self, sync: bool = True) -> None:
        checks.flag("sync", sync)
        self.sync = sync

    def submit(self, job: Job) -> str | None:
        """Have `job.runner_argv()` run, and return the id it goes by there; None if its PID will do."""
        raise NotImplementedError

    def submission(self, job: Job) -> str:
        """Return the command line, or what else `submit` would give to the scheduler; "" for none. Nothing is started.

        `job.record` stands for the record that would be made: it has a path, and `cwd` among its data.
        """
        return ""

    def query(self, job: JobView) -> Status | None:
        """Return the state of a job whose record names no end; None if it cannot be told, or the record is right."""
        raise NotImplementedError

    def cancel(self, job: Job, force: bool = False) -> None:
        """Ask for the job's end (the runner ends it at SIGTERM, the hard way if SIGINT follows) and return at once."""
        raise NotImplementedError

    def watch(self, job: Job, seconds: float) -> bool:
        """Wait up to `seconds` for news of a running job; True if its record should be read again."""
        time.sleep(seconds)
        return True

    def release(self, job: Job) -> None:
        """Let go of what is held for a job that has ended, or that could not be started and so may have no record."""

    def expect(self, jobs: Sequence[JobView]) -> None:
        """Prepare for `query` being called for all these jobs: one question to the scheduler may do."""

    def leftovers(self, jobs: Sequence[JobView]) -> Mapping[str, bool]:
        """Cancel what the scheduler still holds of these jobs, whose records have ended.

        Returns:
            For each that it does not hold, or no longer, its record's id and whether something had to be cancelled; it
            is asked about the others again. By default nothing is held.
        """
        return dict.fromkeys((str(job.id) for job in jobs), False)

    def environment(self) -> dict[str, str]:
        """Return the variables that the job gets, chosen at its start."""
        return {}

    @classmethod
    def short_name(cls) -> str:
        """The name under `lazyllm.launchers`: its entry point's, or its class's without "Launcher"."""
        return cls.component_name().removeprefix(f"{cls._lazy_llm_group}.")

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
            raise InputError(
                f"launchers.{self.short_name()} cannot send the Python object {cmd!r} to another process.",
                hint='Give the function by name, launch("module:function", ARGUMENTS), or use launchers.empty.',
            )
        return Job(Command.of(cmd), self, name=name, detach=detach)

    def launch(self, job: Any, *args: Any, **kw: Any) -> Any:
        """Run a job, or what `makejob` takes, and return its value.

        With `sync` that is at its end, and a JobError if it failed; else once it is started.
        Arguments go to a function, which is named as "module:function" and found in the working folder or an installed
        package, or (launchers.empty) given as such. A named function's arguments and result travel as JSON: tuples
        become lists, and keys text.
        """
        job = self._job_of(job, args, kw)
        job.start()
        if self.sync and not job.shown_only:
            job.wait()
        return job.return_value

    def _job_of(self, job: Any, args: tuple[Any, ...], kw: dict[str, Any]) -> Any:
        if calls(job):
            return self.makejob(call_of(job, args, kw, self.python), name=job)
        if isinstance(job, Job) and type(job.launcher) is not type(self):
            raise InputError(
                f"Job {job.name!r} was made by launchers.{job.launcher.short_name()}; "
                f"launchers.{self.short_name()} launches its own jobs only.",
                hint="job.launcher.launch(job), or make it here: makejob(job.command)",
            )
        made = job if isinstance(job, Job) else self.makejob(job)  # which may refuse it for a better reason
        if args or kw:
            raise InputError(f"Only a function takes arguments, {job!r} does not.")
        return made
