"""For launchers of schedulers: one query asks about all jobs of a process, and news are told from the record too."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Collection, Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from ..common.log import LOG
from .job import Job
from .record import Record
from .runner import write_json
from .status import Status

FRESH = 0.4
"""Seconds for which an answer is good enough for somebody who waits for it."""
IDLE = 10.0
"""Seconds after which a thread that has nothing to follow ends."""
LOOK = 1.0
"""Seconds after which a job's record is read again even if nothing seems to have changed."""


class Poller:
    """Asks a scheduler about jobs: in a thread for those that are followed, at once for whoever asks about others.

    A subclass has `query`, which asks and keeps what it hears, and `seen`, which calls `refresh` and returns that. A
    launcher's `watch` and `release` are then `poller.watch(job, jobid, seconds)` and `poller.leave(jobid)`. One poller
    serves a whole process: get it by `shared`.
    """

    everything: ClassVar[bool] = False
    """Whether a query tells of all jobs, whichever it is asked about."""
    quick: ClassVar[float] = 0.5
    slow: ClassVar[float] = 5.0
    """Seconds between two queries: soon after a change, and later on. A job's end is learnt from its record anyhow."""

    pollers: ClassVar[dict[tuple[Any, ...], Any]] = {}
    """Those that `shared` has made."""

    @classmethod
    def shared(cls, make: Callable[[], Self], *key: Hashable) -> Self:
        """Return this process's poller for `key`, which `make` makes if need be; a forked child has one of its own."""
        mine: tuple[Any, ...] = (cls, os.getpid(), *key)
        found: Self = cls.pollers.get(mine) or cls.pollers.setdefault(mine, make())
        return found

    def __init__(self) -> None:
        self.followed: dict[str, float] = {}
        """id → when it was first followed, in seconds since 1970"""
        self._one = threading.Lock()
        self._wake = threading.Condition()
        self.cost = 0.0
        """Seconds that the last query took."""
        self._asked: dict[str, float] = {}
        self._expected: set[str] = set()
        self._tried = self._looked = self._changed = float("-inf")
        self._failing = False
        self._thread: threading.Thread | None = None

    def query(self, jobids: Collection[str]) -> None:
        """Ask about these jobs, in as few questions as the scheduler lets; only one such call runs at a time.

        What cannot be told stays as it was: a scheduler that does not answer says nothing of its jobs.
        """
        raise NotImplementedError

    def seen(self, jobid: str) -> Any:
        """Return what is known of a job, a new object whenever that is news; None if nothing can be told."""
        raise NotImplementedError

    def pause(self, quiet: float) -> float:
        """Return the seconds between two queries, `quiet` seconds after the last change: the same for any number."""
        return min(max(quiet / 10, self.quick), self.slow)

    def refresh(self, jobid: str) -> None:
        """See that what is known of a job is fresh: that of one that is not followed is asked for now."""
        if jobid in self.followed:
            return
        if jobid in self._expected:
            self._expected.discard(jobid)
            return
        with self._one:
            last = self._tried if self.everything else self._asked.get(jobid, float("-inf"))
            if time.monotonic() - last > max(FRESH, self.cost):
                self._query({jobid, *self.followed})

    def expect(self, jobids: Collection[str]) -> None:
        """Ask about all these jobs at once; whoever looks at one of them next gets that answer."""
        wanted = {*jobids} - {*self.followed}
        if len(wanted) > 1 and not self.everything:
            with self._one:
                self._query(wanted)
                self._expected = wanted

    def _query(self, jobids: Collection[str]) -> None:
        begun = time.monotonic()
        try:
            self.query(jobids)
            self._failing = False
        except Exception as error:
            if not self._failing:
                LOG.warning("%s cannot ask its scheduler: %s; it will be asked again.", type(self).__module__, error)
            self._failing = True
        finally:
            self._tried = time.monotonic()
            self.cost = self._tried - begun
            self._asked.update(dict.fromkeys(jobids, self._tried))

    def follow(self, jobid: str) -> None:
        """Keep asking about a job until `leave`."""
        with self._wake:
            alive = self._thread is not None and self._thread.is_alive()
            if jobid in self.followed and alive:
                return
            self.followed.setdefault(jobid, time.time())
            self._changed = time.monotonic()
            if not alive:
                self._thread = threading.Thread(target=self._loop, name=type(self).__module__, daemon=True)
                self._thread.start()
            self._wake.notify()

    def leave(self, jobid: str) -> None:
        """Stop asking about a job."""
        with self._wake:
            self.followed.pop(jobid, None)

    def hurry(self) -> None:
        """Something was done that changes a job's state: ask again soon."""
        with self._wake:
            self._changed = time.monotonic()
            self._wake.notify()

    def watch(self, job: Job, jobid: str, seconds: float) -> bool:
        """Follow a job for `seconds`; True if its record should be read again: it, or what is seen, has changed."""
        self.follow(jobid)
        time.sleep(seconds)
        if not isinstance(job.handle, _Look):
            job.handle = _Look()
        return job.record is not None and job.handle.differs(job.record, self.seen(jobid))

    def _loop(self) -> None:
        idle = time.monotonic()
        while True:
            with self._wake:
                while (rest := self._looked + self.pause(time.monotonic() - self._changed) - time.monotonic()) > 0:
                    self._wake.wait(rest)
                if self.followed:
                    idle = time.monotonic()
                elif time.monotonic() - idle > IDLE:
                    self._thread = None
                    return
                followed = set(self.followed)
                self._looked = time.monotonic()
            if followed:
                with self._one:
                    self._query(followed)
                self._looked = time.monotonic()


def said_since(record: Record, word: str) -> float:
    """Return since when (seconds since 1970) a scheduler says `word` of a job, over all processes that asked.

    It is kept in the record's folder, and written only when the word is another one.
    """
    path, now = record.folder / "said.json", time.time()
    try:
        kept = json.loads(path.read_bytes())
        if kept["word"] == word and 0 < kept["since"] <= now:
            return float(kept["since"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    with suppress(OSError):
        write_json(str(path), {"word": word, "since": now})
    return now


def lives(record: Record, within: float) -> bool:
    """Say whether a job's runner, if it is one that touches the file `alive`, did so in the last `within` seconds.

    It is measured by the clock of the record's own file system, where `said_since` has written before.
    """
    now = record.folder / "said.json"
    try:
        os.utime(now)
        return now.stat().st_mtime - (record.folder / "alive").stat().st_mtime < within
    except OSError:
        return False


def last_known(record: Record, said: Status | None = None) -> Status:
    """Return what a scheduler has `said` of a job; if nothing, what is known of it, so that no state goes back.

    As long as its runner is silent, whether it was said to run is kept in the record's folder, for all processes.
    """
    state, ran = record.state, record.folder / "ran"
    if state is not Status.TBSubmitted:
        return said or state
    with suppress(OSError):
        if said is Status.Running:
            ran.touch(mode=0o600)
        elif said is Status.InQueue:
            ran.unlink(missing_ok=True)
    return said or (Status.Running if ran.exists() else Status.InQueue)


@dataclass
class _Look:
    """What was seen of a job last."""

    _stamp: tuple[int, int] | None = None
    _seen: Any = None
    _when: float = float("-inf")

    def differs(self, record: Record, seen: Any) -> bool:
        stamp, now = _stamp_of(record), time.monotonic()
        if stamp == self._stamp and seen is self._seen and now - self._when < LOOK:
            return False
        self._stamp, self._seen, self._when = stamp, seen, now
        return True


def _stamp_of(record: Record) -> tuple[int, int] | None:
    try:
        found = (record.folder / "status.json").stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
