"""launchers.empty: jobs on this machine, each under a runner that ends with its caller."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import IO, Any, cast

from lazyllm.errors import InputError, LauncherError
from lazyllm.jobs import checks
from lazyllm.jobs.command import Command
from lazyllm.jobs.job import Job
from lazyllm.jobs.launcher import LazyLLMLaunchersBase
from lazyllm.jobs.status import Status
from lazyllm.jobs.sweep import signal_runner
from lazyllm.jobs.view import JobView

from .call import CallableJob
from .grant import VISIBLE, Grant, grant

_granted = threading.local()
"""Of the job that this thread starts: `job`, what `environment` has got for it; `choosing`, see `LocalJob`."""


class LocalJob(Job):
    """A job on this machine. While it starts, its launcher knows whether the command itself chooses the GPUs."""

    def start(self) -> None:
        _granted.choosing = self.command is not None and VISIBLE in self.command.env
        try:
            super().start()
        finally:
            _granted.choosing = False


@dataclass
class _Link:
    """What ties this process to a runner: its news come from `process.stdout`, its life hangs on `process.stdin`."""

    process: subprocess.Popen[bytes]
    creator: int = field(default_factory=os.getpid)

    @property
    def open(self) -> bool:
        return self.creator == os.getpid() and self.process.stdout is not None and not self.process.stdout.closed

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                with suppress(OSError):
                    pipe.close()


def _claim() -> Grant:
    """Take over what `environment` has got."""
    claimed: Grant = getattr(_granted, "job", None) or Grant()
    _granted.job = None
    return claimed


def _run(job: Job, descriptors: tuple[int, ...]) -> subprocess.Popen[bytes]:
    """Start the runner of a job; it inherits `descriptors`."""
    env = {**os.environ, **job.runner_environment()}
    if job.detach:  # it outlives the job around it, so it does not stand on that one's leases
        from .leases import CHAIN

        env.pop(CHAIN, None)
    log = os.open(job.log, os.O_WRONLY | os.O_APPEND)
    try:
        return subprocess.Popen(
            job.runner_argv(),
            stdin=subprocess.DEVNULL if job.detach else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            bufsize=0,
            start_new_session=True,
            env=env,
            pass_fds=descriptors,
        )
    except OSError as error:
        raise LauncherError(f"No process can be started: {error}.", hint="ulimit -u -n shows the limits.") from None
    finally:
        os.close(log)


class EmptyLauncher(LazyLLMLaunchersBase):
    """Runs jobs on this machine.

    Args:
        subprocess: run Python callables in a child process instead of in place.
        ngpus: None: the GPU with most free memory; N: the N such GPUs; 0: leave CUDA_VISIBLE_DEVICES alone.
            The job has them to itself until all its processes are dead. On a machine without GPUs it is ignored, with
            a line in the log.
        sync: `launch` waits for the job's end, or returns once it is started.
        share_gpus: the job may stand on GPUs of your other jobs, and of other users' jobs that share too.
            None: as `config["share_gpus"]` says.
    """

    owned = True
    notified = True
    host = "127.0.0.1"

    def __init__(
        self,
        subprocess: bool = False,
        ngpus: int | None = None,
        sync: bool = True,
        *,
        share_gpus: bool | None = None,
    ) -> None:
        super().__init__(sync=sync)
        if sys.platform == "win32":
            raise LauncherError("launchers.empty needs Linux or macOS.", hint="On Windows, run it under WSL.")
        checks.whole("ngpus", ngpus, 0, none=True)
        checks.flag("subprocess", subprocess)
        checks.flag("share_gpus", share_gpus, none=True)
        self.subprocess = subprocess
        self.ngpus = ngpus
        self.share_gpus = share_gpus

    def grant(self) -> Grant:
        """Lease the GPUs of one job. Close what is returned once the job has them."""
        return grant(self.ngpus, share=self.share_gpus, asked="ngpus" not in self.assumed)

    def environment(self) -> dict[str, str]:
        _claim().close()  # of a job that was not started after all
        _granted.job = Grant() if getattr(_granted, "choosing", False) else self.grant()
        return dict(_granted.job.variables)

    def submit(self, job: Job) -> None:
        with closing(_claim()) as granted:
            job.handle = _Link(_run(job, granted.descriptors))

    def query(self, job: JobView) -> Status | None:
        """The record is right: whoever reads it has looked whether the runner lives."""
        link = job.handle if isinstance(job, Job) else None
        if isinstance(link, _Link) and link.creator == os.getpid() and link.process.poll() is not None:
            return Status.Failed
        return None

    def cancel(self, job: Job, force: bool = False) -> None:
        told = job.record.status() if job.record else {}
        if not signal_runner(told, force) and not told.get("runner_pid") and isinstance(job.handle, _Link):
            job.handle.process.terminate()

    def watch(self, job: Job, seconds: float) -> bool:
        link = job.handle
        if not isinstance(link, _Link) or not link.open:
            return super().watch(job, min(seconds, 0.05))
        import select

        news = cast("IO[bytes]", link.process.stdout)
        poll = select.poll()  # select() takes no descriptor above 1023
        poll.register(news, select.POLLIN)
        if not poll.poll(seconds * 1000):
            return False
        if not news.read(4096):
            link.process.wait()
            link.close()
        return True

    def release(self, job: Job) -> None:
        if job.record is None:  # it came to nothing after `environment`
            _claim().close()
        link = job.handle
        if isinstance(link, _Link) and link.creator == os.getpid():
            with suppress(subprocess.TimeoutExpired):
                link.process.wait(10)
            link.close()

    def makejob(self, cmd: Any, *, name: str | None = None, detach: bool = False) -> Any:
        if callable(cmd):
            if detach:
                raise InputError("A Python callable cannot be detached; a command can.")
            return CallableJob(cmd, self, name=name)
        return LocalJob(Command.of(cmd), self, name=name, detach=detach)

    def _job_of(self, job: Any, args: tuple[Any, ...], kw: dict[str, Any]) -> Any:
        if isinstance(job, CallableJob):
            return job
        return CallableJob(job, self, args=args, kw=kw) if callable(job) else super()._job_of(job, args, kw)
