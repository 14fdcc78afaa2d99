"""Python callables as jobs: in place, or in a forked child whose result comes back over a private pipe."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lazyllm.common.log import LOG
from lazyllm.configs import config
from lazyllm.errors import JobError, JobTimeoutError, LauncherError
from lazyllm.jobs.status import Status

from .child import child, flush, rebuilt, unpacked

if TYPE_CHECKING:
    from .grant import Grant
    from .launcher import EmptyLauncher


class CallableJob:
    """A call of a Python object. It leaves no record; its child process ends with this one."""

    ip = "127.0.0.1"

    def __init__(
        self,
        function: Callable[..., Any],
        launcher: EmptyLauncher,
        *,
        name: str | None = None,
        args: tuple[Any, ...] = (),
        kw: Mapping[str, Any] | None = None,
    ) -> None:
        self.launcher = launcher
        self.name = name or getattr(function, "__qualname__", type(function).__name__)
        self.status = Status.TBSubmitted
        self.jobid: int | None = None
        self.return_value: Any = None
        self.output_hooks: list[Callable[[str], Any]] = []
        self._call = (function, args, dict(kw or {}))
        self._error: BaseException | None = None
        self._over = threading.Event()

    @property
    def shown_only(self) -> bool:
        return self.status is Status.TBSubmitted and bool(config["mode"] == "display")

    def get_jobip(self) -> str:
        """Return this machine's address."""
        return self.ip

    def start(self) -> None:
        """Make the call; in a child process it goes on after this returns."""
        if self.status is not Status.TBSubmitted:
            raise JobError(f"{self.name} was called before; make another job to call it again.")
        LOG.info("Call: %s", self.name)
        if self.shown_only:
            return
        if self.launcher.subprocess:
            granted = self.launcher.grant()
            self.status = Status.Running
            ready = threading.Event()
            try:
                threading.Thread(target=self._in_child, args=(ready, granted), daemon=True).start()
            except RuntimeError as error:
                granted.close()
                self._fail(_unstarted(error))
                return
            ready.wait()
            return
        self.status = Status.Running
        function, args, kw = self._call
        try:
            self.return_value = function(*args, **kw)
            self.status = Status.Done
        except BaseException:
            self.status = Status.Failed
            raise
        finally:
            self._over.set()

    def wait(self, timeout: float | None = None) -> Status:
        """Wait for the call's end; raises what it raised, or a JobError if its process died."""
        try:
            if self.status is not Status.TBSubmitted and not self._over.wait(timeout):
                raise JobTimeoutError(f"{self.name} did not end within {timeout:g} s; it goes on.")
        except KeyboardInterrupt:
            self.stop()
            raise
        if self._error is not None and self.status is Status.Failed:
            raise self._error
        return self.status

    wait_ready = wait

    def stop(self) -> None:
        """End the child process; nothing happens if it has ended."""
        if self.status is not Status.Running or self.jobid is None:
            return
        self.status = Status.Cancelled
        for number, patience in ((signal.SIGTERM, self.launcher.grace), (signal.SIGKILL, 10)):
            end = time.monotonic() + patience
            with suppress(ProcessLookupError):
                os.killpg(self.jobid, number)
            if self._over.wait(max(0, end - time.monotonic())):
                return

    def _in_child(self, ready: threading.Event, granted: Grant) -> None:
        """Fork and wait, in a thread of its own: the child's life is tied to the thread that forks."""
        try:
            pid, reader = self._fork(granted)
        except Exception as error:
            self._fail(_unstarted(error))
            return
        finally:
            granted.close()
            ready.set()
        try:
            try:
                told, code = _hear(reader, pid)
            finally:
                os.close(reader)
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)  # what the call started in its own group ends with it
            self._end(told, code)
        except BaseException as error:
            self._fail(JobError(f"What became of {self.name} cannot be told: {type(error).__name__}: {error}"))
        finally:
            self._over.set()

    def _fork(self, granted: Grant) -> tuple[int, int]:
        """Start the child; return its PID and the pipe that it answers through."""
        parent = os.getpid()
        flush()
        if granted.held:
            granted.held.heir = threading.get_ident()  # the child inherits the GPUs' leases
        ends = reader, writer = os.pipe()
        try:
            pid = os.fork()
        except BaseException:
            for end in ends:
                os.close(end)
            raise
        if not pid:
            child(self._call, granted.variables, ends, parent)
        os.close(writer)
        with suppress(OSError):  # the child does the same; whoever comes first
            os.setpgid(pid, pid)
        self.jobid = pid
        return pid, reader

    def _end(self, told: bytes, code: int) -> None:
        answer = unpacked(told)
        if answer is None:
            how = f"by {_signal(-code)}" if code < 0 else f"with exit code {code}"
            text = f"The process that called {self.name} ended {how} before it returned."
            self._fail(JobError(text, exit_code=code))
        elif answer[0] == "error":
            self._fail(rebuilt(*answer[1]))
        else:
            self.return_value = answer[1]
            if self.status is not Status.Cancelled:
                self.status = Status.Done

    def _fail(self, error: BaseException) -> None:
        self._error = error
        if self.status is not Status.Cancelled:
            self.status = Status.Failed
        if not self.launcher.sync and self.status is Status.Failed:
            LOG.error("%s failed: %s", self.name, error)
        self._over.set()


def _unstarted(error: Exception) -> LauncherError:
    return LauncherError(f"No process can be started: {error}.", hint="ulimit -u -n shows the limits.")


def _signal(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def _hear(reader: int, pid: int) -> tuple[bytes, int]:
    """Return what a child has said until its end, and its exit code.

    Processes that it forked may hold the pipe open after it.
    """
    news = select.poll()
    news.register(reader, select.POLLIN)
    pieces: list[bytes] = []
    ended: int | None = None
    while True:
        if news.poll(200 if ended is None else 0):
            piece = os.read(reader, 1 << 20)
            if not piece:
                break
            pieces.append(piece)
        elif ended is not None:
            break
        else:
            ended = _ended(pid, os.WNOHANG)
    if ended is None:
        ended = _ended(pid) or 0
    return b"".join(pieces), os.waitstatus_to_exitcode(ended)


def _ended(pid: int, flags: int = 0) -> int | None:
    """Wait for a child; 0 if it cannot be waited for, as in a program that ignores SIGCHLD."""
    try:
        found, code = os.waitpid(pid, flags)
    except ChildProcessError:
        return 0
    return code if found else None
