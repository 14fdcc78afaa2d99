"""What Slurm says of this user's jobs: one query answers for all of them, whoever in this process asks."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection

from lazyllm.errors import LauncherError
from lazyllm.jobs.polling import Poller
from lazyllm.jobs.tools import Answer

from .commands import ask, run
from .leftover import SETTLED, cancel_ended
from .parse import JOB_FIELDS, SACCT_FIELDS, Seen, accounted, jobs, layout
from .states import GONE, STATES

AGAIN = 10.0
"""Seconds after which the accounting is asked again about a job that has no end of: it hears of jobs late."""
FALTERING = "connect|contact|talking|timed out"
"""Words of an accounting that cannot be reached just now; others mean that there is none."""


class SlurmPoller(Poller):
    """Asks squeue about all jobs of the user, and the accounting, once, about those that it does not list.

    A list of Slurm's holds every job until MinJobAge seconds after its end, so what is not in it is forgotten.
    """

    everything = True

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[str, Seen] = {}
        self._gone: dict[str, Seen] = {}
        self._answered = False
        self._cancelled: set[str] = set()
        self._left: dict[str, float] = {}
        self.queries = 0
        """Lists asked for, of the queue and of the accounting."""

    def seen(self, jobid: str) -> Seen | None:
        """Return a job as it was seen last; None if it cannot be told."""
        self.refresh(jobid)
        if jobid not in self.followed:
            self._look_for([jobid])
        return self._known.get(jobid) or self._gone.get(jobid)

    def expect(self, jobids: Collection[str]) -> None:
        """Ask about all these jobs at once; whoever looks at one of them next gets that answer."""
        wanted = {*jobids} - {*self.followed}
        if wanted:
            self.refresh(min(wanted))  # which tells of all
            self._look_for(wanted)
            self._expected = wanted

    def leave(self, jobid: str) -> None:
        """Stop asking about a job; while the controller is away, once it is back: it may have forgotten its start."""
        if self._answered or jobid not in self.followed:
            super().leave(jobid)
        else:
            self._left[jobid] = time.time()

    def query(self, jobids: Collection[str]) -> None:
        asked = time.time()
        user = str(os.getuid())
        argv = ("squeue", "--noheader", "--all", "--states=all", "--user", user, "-O", layout(JOB_FIELDS))
        self.queries += 1
        answer = ask(argv)
        self._answered = answer is not None and answer.ok
        if answer is None or not answer.ok:
            return  # unknown stays unknown
        found = jobs(answer.out, asked)
        self._known = {**found, **{seen.name: seen for seen in found.values()}}
        for jobid in [jobid for jobid, when in list(self._left.items()) if when + SETTLED < asked]:
            super().leave(jobid)
            del self._left[jobid]
        self._look_for([jobid for jobid, since in list(self.followed.items()) if since < asked])
        cancel_ended(found.values(), self._cancelled)

    def _look_for(self, jobids: Collection[str]) -> None:
        """Have the accounting tell of those jobs that the last list does not hold."""
        asked = time.time()
        missing = [jobid for jobid in jobids if jobid not in self._known and self._unsure(jobid, asked)]
        if not missing or not self._answered:
            return
        numbers = [jobid for jobid in missing if jobid.isdecimal()]
        self.queries += bool(numbers)
        told = _account(numbers) if numbers else Answer(0, "")
        if told.code is None or (not told.ok and re.search(FALTERING, told.words, re.I)):
            return
        self._gone.update({**{jobid: Seen(GONE, asked) for jobid in missing}, **accounted(told.out, asked)})

    def _unsure(self, jobid: str, now: float) -> bool:
        known = self._gone.get(jobid)
        state = STATES.get(known.word) if known else None
        return known is None or ((state is None or not state.ended) and now - known.asked > AGAIN)


def _account(numbers: list[str]) -> Answer:
    try:
        return run(("sacct", "-X", "-n", "-P", "-j", ",".join(numbers), "-o", ",".join(SACCT_FIELDS)))
    except LauncherError as error:
        return Answer(1, "", error.message)


_pollers: dict[tuple[int, str], SlurmPoller] = {}


def poller() -> SlurmPoller:
    """Return this process's poller for the cluster that SLURM_CONF names; a forked child has one of its own."""
    key = (os.getpid(), os.environ.get("SLURM_CONF", ""))
    return _pollers.get(key) or _pollers.setdefault(key, SlurmPoller())
