"""What Slurm says of this user's jobs: one query answers for all of them, whoever in this process asks."""

from __future__ import annotations

import os
import threading
import time

from .commands import ask
from .parse import JOB_FIELDS, SACCT_FIELDS, Seen, accounted, job_shown, jobs, layout
from .states import GONE

QUICK, SLOW = 0.5, 5.0
"""Seconds between two queries: soon after a change, and later on. The end of a job is learnt from its record anyhow."""
FRESH = 0.4
"""Seconds for which an answer is good enough for somebody who waits for it."""
IDLE = 10.0
"""Seconds after which a thread that has nothing to follow ends."""


class Poller:
    """Asks for all jobs at once: in a thread for jobs that are followed, at once for whoever asks about others."""

    def __init__(self) -> None:
        self._one = threading.Lock()
        self._wake = threading.Condition()
        self._known: dict[str, Seen] = {}
        self._gone: dict[str, Seen] = {}
        self._followed: dict[str, float] = {}  # id → when it was first followed
        self._tried = self._changed = float("-inf")
        self._answered = 0.0
        self._thread: threading.Thread | None = None
        self.queries = 0

    def follow(self, jobid: str) -> None:
        """Keep asking about a job until `leave`."""
        with self._wake:
            if jobid in self._followed:
                return
            self._followed[jobid] = time.time()
            self._changed = time.monotonic()
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._loop, name="slurm poller", daemon=True)
                self._thread.start()
            self._wake.notify()

    def leave(self, jobid: str) -> None:
        """Stop asking about a job."""
        with self._wake:
            self._followed.pop(jobid, None)

    def hurry(self) -> None:
        """Something was done that changes a job's state: ask again soon."""
        with self._wake:
            self._changed = time.monotonic()
            self._wake.notify()

    def seen(self, jobid: str) -> Seen | None:
        """Return a job as it was seen last; None if it cannot be told."""
        since = self._followed.get(jobid)
        if since is None:
            since = 0.0
            with self._one:
                if time.monotonic() - self._tried > FRESH:
                    self._query()
        found = self._known.get(jobid) or self._gone.get(jobid)
        if found is None and since == 0.0 and self._answered:
            found = self._look_for(jobid)
        return found

    def _query(self) -> None:
        asked = time.time()
        self.queries += 1
        user = str(os.getuid())
        argv = ("squeue", "--noheader", "--all", "--states=all", "--user", user, "-O", layout(JOB_FIELDS))
        answer = ask(argv)
        self._tried = time.monotonic()
        if answer is None or not answer.ok:
            return  # unknown stays unknown
        found = jobs(answer.out, asked)
        known = dict(found)
        known.update((seen.name, seen) for seen in found.values())
        self._known, self._answered = known, asked

    def _look_for(self, jobid: str) -> Seen | None:
        """Ask about a job that is not in the queue's list: the controller by its number, then the accounting."""
        asked = time.time()
        if not jobid.isdecimal():
            return Seen(GONE, asked)
        shown = ask(("scontrol", "show", "job", "-o", jobid))
        if shown is None:
            return None
        if shown.ok and "JobState=" in shown.out:
            return job_shown(shown.out, asked)
        if "Invalid job id" not in shown.err:
            return None
        told = ask(("sacct", "-X", "-n", "-P", "-j", jobid, "-o", ",".join(SACCT_FIELDS)))
        found = accounted(told.out, asked).get(jobid) if told and told.ok else None
        self._gone[jobid] = found or Seen(GONE, asked)
        return self._gone[jobid]

    def _loop(self) -> None:
        idle = time.monotonic()
        while True:
            with self._wake:
                while (rest := self._due() - time.monotonic()) > 0:
                    self._wake.wait(rest)
                if self._followed:
                    idle = time.monotonic()
                elif time.monotonic() - idle > IDLE:
                    self._thread = None
                    return
                followed = dict(self._followed)
            if not followed:
                with self._wake:
                    self._tried = time.monotonic()
                continue
            with self._one:
                self._query()
            for jobid, since in followed.items():
                if since < self._answered and jobid not in self._known and jobid not in self._gone:
                    self._look_for(jobid)

    def _due(self) -> float:
        """Return when the next query is due: the rate depends on how long ago something changed, not on how many."""
        quiet = time.monotonic() - self._changed
        return self._tried + min(max(quiet / 10, QUICK), SLOW)


_pollers: dict[tuple[int, str], Poller] = {}


def poller() -> Poller:
    """Return this process's poller for the cluster that SLURM_CONF names; a forked child has one of its own."""
    key = (os.getpid(), os.environ.get("SLURM_CONF", ""))
    return _pollers.get(key) or _pollers.setdefault(key, Poller())
