"""What follows a job in the background: one thread notices news and the end, one passes output to hooks and display."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from copy import copy
from typing import TYPE_CHECKING, Any

from ..common.log import LOG
from .display import Display
from .naming import label_of
from .output import CHUNK, Follower
from .status import Status

if TYPE_CHECKING:
    from .job import Job

SETTLED = 2.0
"""Seconds that a job has been followed, or that a reason of its waiting has been logged, before one is logged."""
LOOK = 0.1
"""Seconds between two looks at a job's output."""
FLOOD = 1 << 18
"""Unread bytes from which on only the last lines are shown; hooks and the log get all."""

_labels: set[str] = set()


class Watcher:
    """Follows one job until its end; `over` is True once all output was passed on.

    Whoever waits for the job's readiness or stops it waits neither for its output nor for a hook or a terminal.
    """

    def __init__(self, job: Job) -> None:
        self.over = False
        self._job = job
        self._news = threading.Condition()
        self._ended = threading.Event()
        self._display = None if job.quiet else Display(_label(job))
        self._output: threading.Thread | None = None
        self._why, self._say_from = "", time.monotonic() + SETTLED
        self._thread = threading.Thread(target=self._follow, name=f"job {job.id}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether its threads run: they do not in a forked process."""
        return self._thread.is_alive() or (self._output is not None and self._output.is_alive())

    def wait_for(self, reached: Callable[[], bool], timeout: float | None) -> bool:
        """Wait until `reached` or the job's end; False if `timeout` seconds went by before."""
        with self._news:
            return self._news.wait_for(lambda: self.over or reached(), timeout)

    def join(self, timeout: float) -> None:
        """Wait until all output was passed on."""
        if self.alive and threading.current_thread() not in (self._thread, self._output):
            with self._news:
                self._news.wait_for(lambda: self.over, timeout)

    def _follow(self) -> None:
        log = Follower(self._job.log)
        ended = False
        try:
            while not ended:
                if self._news_came():
                    state = self._job.status
                    ended = state.ended
                    self._say_why_it_waits(state)
                    with self._news:
                        self._news.notify_all()
                if not ended and log.behind and self._output is None:
                    self._start_output()  # not before: it costs a short job milliseconds
            self._release()
        finally:
            self._ended.set()
            if self._output is None:
                self._pass_on()

    def _say_why_it_waits(self, state: Status) -> None:
        """Log why the job waits in its queue, where somebody waits for it: once, and again when that has changed."""
        job, why = self._job, self._job.waiting_for
        if state is Status.Running:
            self._why = ""
        if job.awaited and why not in ("", self._why) and time.monotonic() >= self._say_from:
            self._why, self._say_from = why, time.monotonic() + SETTLED
            LOG.info("Job %s (%s) waits in its queue: %s", job.id, job.name, why)

    def _start_output(self) -> None:
        self._output = threading.Thread(target=self._pass_on, name=f"output of job {self._job.id}", daemon=True)
        try:
            self._output.start()
        except RuntimeError:  # no more threads: it comes at the end
            self._output = None

    def _news_came(self) -> bool:
        try:
            return self._job.launcher.watch(self._job, LOOK)
        except Exception as error:
            self._job._doubt(error)
            time.sleep(LOOK)
            return True

    def _release(self) -> None:
        try:
            self._job.launcher.release(self._job)
        except Exception as error:
            LOG.warning("launchers.%s could not let go of job %s: %s", *_who(self._job), error)

    def _pass_on(self) -> None:
        job, display = self._job, self._display
        shown = Follower(job.log)
        told = copy(shown)  # hooks get all, however late; what is shown is new
        over, pause = False, 0.0
        try:
            while not over:
                over = self._ended.wait(pause)
                _show(shown, display, over)
                hooks = list(job.output_hooks)
                for line in told.lines(over, None if over else CHUNK) if hooks else ():
                    for hook in hooks:
                        _call(hook, line, job.name)
                if not hooks:
                    told = copy(shown)
                pause = 0 if hooks and told.behind > FLOOD else LOOK
        finally:
            if display:
                display.close()
                _labels.discard(display.name)
            with self._news:
                self.over = True
                self._news.notify_all()


def _show(follower: Follower, display: Display | None, final: bool) -> None:
    if follower.behind > FLOOD:
        follower.skip_to_last(FLOOD // 8)
        if display:
            display.line(f"… more than can be shown; all of it is in {follower.path}")
    for line in follower.lines(final):
        if display:
            display.line(line)


def _label(job: Job) -> str:
    """Return what tells this job's lines from those of others that this process shows."""
    label = label_of(job.name, str(job.id), job.command)
    if label in _labels:
        label = str(job.id)
    _labels.add(label)
    return label


def _who(job: Job) -> tuple[str, str]:
    return job.launcher.short_name(), f"{job.id} ({job.name})"


def _call(hook: Callable[[str], Any], line: str, name: str) -> None:
    try:
        hook(line)
    except Exception:
        LOG.exception("An output hook of job %s failed.", name)
