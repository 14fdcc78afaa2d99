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
from .place import Place
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

    def __init__(self, place: Place | None = None) -> None:
        super().__init__()
        self.place = place or Place.here()
        self._known: dict[str, Seen] = {}
        self._gone: dict[str, Seen] = {}
        self._answered = False
        self.cancelled: set[str] = set()
        """Jobs that had ended and waited in the queue even so, by their numbers."""
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
        argv = ("squeue", "--all", "--states=all", "--user", user, "-O", layout(JOB_FIELDS))
        self.queries += 1
        self._answered = False
        answer = ask(argv, env=self.place.environ())
        if answer is None or not answer.ok:
            return  # unknown stays unknown
        found = jobs(answer.out, asked)
        if found is None:
            raise LauncherError(f"squeue's answer is no list of jobs ({answer.words[:80]})")
        self._answered = True
        self._known = {**found, **{seen.name: seen for seen in found.values()}}
        for jobid in [jobid for jobid, when in list(self._left.items()) if when + SETTLED < asked]:
            super().leave(jobid)
            del self._left[jobid]
        self._look_for([jobid for jobid, since in list(self.followed.items()) if since < asked])
        cancel_ended(found.values(), self.cancelled)

    def _look_for(self, jobids: Collection[str]) -> None:
        """Have the accounting tell of those jobs that the last list does not hold."""
        asked = time.time()
        missing = [jobid for jobid in jobids if jobid not in self._known and self._unsure(jobid, asked)]
        if not missing or not self._answered:
            return
        numbers = [jobid for jobid in missing if jobid.isdecimal()]
        self.queries += bool(numbers)
        told = self._account(numbers) if numbers else Answer(1, "", "no job has a number yet")
        if told.code is None or (not told.ok and re.search(FALTERING, told.words, re.I)):
            return
        found = accounted(told.out, asked) if told.ok else {}
        if found is not None:
            self._gone.update({**{jobid: Seen(GONE, asked) for jobid in missing}, **found})

    def _account(self, numbers: Collection[str]) -> Answer:
        argv = ("sacct", "-X", "-P", "-j", ",".join(numbers), "-o", ",".join(SACCT_FIELDS))
        try:
            return run(argv, env=self.place.environ())
        except LauncherError as error:
            return Answer(1, "", error.message)

    def _unsure(self, jobid: str, now: float) -> bool:
        known = self._gone.get(jobid)
        state = STATES.get(known.word) if known else None
        return known is None or ((state is None or not state.ended) and now - known.asked > AGAIN)


def poller(place: Place) -> SlurmPoller:
    """Return this process's poller for a cluster."""
    return SlurmPoller.shared(lambda: SlurmPoller(place), place)
