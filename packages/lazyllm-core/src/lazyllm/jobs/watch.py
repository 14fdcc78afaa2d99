"""The thread that follows a job: it notices news and the end, and passes output on to hooks and display."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..common.log import LOG
from .display import Display
from .naming import label_of
from .output import Follower

if TYPE_CHECKING:
    from .job import Job

LOOK = 0.1
"""Seconds between two looks at a job's output."""
FLOOD = 1 << 18
"""Unread bytes from which on only the last lines are shown; hooks and the log get all."""

_labels: set[str] = set()


class Watcher:
    """Follows one job until its end; `over` is True once all output was passed on."""

    def __init__(self, job: Job) -> None:
        self.over = False
        self._job = job
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._follow, name=f"job {job.id}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs: it does not in a forked process."""
        return self._thread.is_alive()

    def wait_for(self, reached: Callable[[], bool], timeout: float | None) -> bool:
        """Wait until `reached` or the job's end; False if `timeout` seconds went by before."""
        with self._news:
            return self._news.wait_for(lambda: self.over or reached(), timeout)

    def join(self, timeout: float) -> None:
        """Wait until all output was passed on."""
        if self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _follow(self) -> None:
        job = self._job
        follower = Follower(job.log)
        display = None if job.quiet else Display(_label(job))
        ended = False
        try:
            while not ended:
                if self._news_came():
                    ended = job.status.ended
                    with self._news:
                        self._news.notify_all()
                if ended:
                    self._release()
                self._pass_on(follower, display, ended)
        finally:
            if display:
                display.close()
                _labels.discard(display.name)
            with self._news:
                self.over = True
                self._news.notify_all()

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

    def _pass_on(self, follower: Follower, display: Display | None, final: bool) -> None:
        flood = follower.behind > FLOOD
        hooks = list(self._job.output_hooks)
        if flood and not hooks:
            follower.skip_to_last(FLOOD // 8)
        if flood and display:
            display.line(f"… more than can be shown; all of it is in {self._job.log}")
        for line in follower.lines(final):
            for hook in hooks:
                _call(hook, line, self._job.name)
            if display and not (flood and hooks):
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
