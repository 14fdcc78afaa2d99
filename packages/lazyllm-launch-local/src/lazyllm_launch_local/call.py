"""Python callables as jobs: in place, or in a forked child whose result comes back over a private pipe.

A result travels as marshal's plain data (numbers, text, bytes, lists, dicts, sets …), an exception as its class name
and arguments: nothing is unpickled.
"""

from __future__ import annotations

import marshal
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lazyllm.common.log import LOG
from lazyllm.configs import config
from lazyllm.errors import JobError, LauncherError
from lazyllm.jobs.status import JobTimeoutError, Status

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
            threading.Thread(target=self._in_child, args=(ready, granted), daemon=True).start()
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
        parent = os.getpid()
        ends: tuple[int, ...] = ()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        if granted.held:
            granted.held.heir = threading.get_ident()  # the child inherits the GPUs' leases
        try:
            ends = reader, writer = os.pipe()
            pid = os.fork()
        except OSError as error:
            granted.close()
            for end in ends:
                os.close(end)
            self._error = LauncherError(f"No process can be started: {error}.", hint="ulimit -u -n shows the limits.")
            self.status = Status.Failed
            self._over.set()
            ready.set()
            return
        if not pid:
            os.close(reader)
            os.environ.update(granted.variables)
            _child(self._call, writer, parent)
        granted.close()
        os.close(writer)
        with suppress(OSError):  # the child does the same; whoever comes first
            os.setpgid(pid, pid)
        self.jobid = pid
        ready.set()
        with os.fdopen(reader, "rb") as file:
            told = file.read()
        _, code = os.waitpid(pid, 0)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)  # what the call started in its own group ends with it
        self._end(told, os.waitstatus_to_exitcode(code))

    def _end(self, told: bytes, code: int) -> None:
        answer: tuple[str, Any] = marshal.loads(told) if told else ("died", code)  # noqa: S302 (from our own fork)
        kind, value = answer
        if self.status is not Status.Cancelled:
            self.status = Status.Done if kind == "result" else Status.Failed
        if kind == "result":
            self.return_value = value
        elif kind == "error":
            self._error = _rebuild(*value)
        else:
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
            self._error = JobError(
                f"The process that called {self.name} ended {how} before it returned.", exit_code=code
            )
        if self._error and not self.launcher.sync and self.status is Status.Failed:
            LOG.error("%s failed: %s", self.name, self._error)
        self._over.set()


def _child(call: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]], writer: int, parent: int) -> None:
    code = 1
    try:
        os.setpgid(0, 0)
        _die_with_parent(parent)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        function, args, kw = call
        try:
            answer = _plain("result", function(*args, **kw))
        except BaseException as error:
            text = [a if isinstance(a, (str, int, float, bool, bytes)) else repr(a) for a in error.args]
            answer = marshal.dumps(("error", (type(error).__module__, type(error).__qualname__, text)))
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        with os.fdopen(writer, "wb") as file:
            file.write(answer)
        code = 0
    finally:
        os._exit(code)


def _plain(kind: str, value: Any) -> bytes:
    try:
        return marshal.dumps((kind, value))
    except ValueError:
        raise JobError(
            f"A {type(value).__name__} cannot be handed back by a child process, only plain data "
            "(text, numbers, lists, dicts).",
            hint="Return plain data or a path, or leave out subprocess=True.",
        ) from None


def _rebuild(module: str, name: str, args: list[Any]) -> BaseException:
    """Return an exception of the child's class if this process knows it, else a JobError that names it."""
    found = getattr(sys.modules.get(module), name, None)
    if isinstance(found, type) and issubclass(found, BaseException):
        try:
            return found(*args)
        except TypeError:
            pass
    return JobError(f"{module}.{name}: {' '.join(map(str, args))}")


def _die_with_parent(parent: int) -> None:
    if sys.platform.startswith("linux"):
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)
