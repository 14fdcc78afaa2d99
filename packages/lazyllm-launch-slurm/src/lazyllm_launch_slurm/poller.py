"""What Slurm says of this user's jobs: one query answers for all of them, whoever in this process asks."""

from __future__ import annotations

import os
import time
from collections.abc import Collection

from lazyllm.jobs.polling import Poller

from .commands import ask
from .parse import JOB_FIELDS, SACCT_FIELDS, Seen, accounted, job_shown, jobs, layout
from .states import GONE


class SlurmPoller(Poller):
    """Asks squeue about all jobs of the user; of one that it does not list, the controller and the accounting."""

    everything = True

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[str, Seen] = {}
        self._gone: dict[str, Seen] = {}
        self._answered = 0.0
        self.queries = 0

    def seen(self, jobid: str) -> Seen | None:
        """Return a job as it was seen last; None if it cannot be told."""
        self.refresh(jobid)
        found = self._known.get(jobid) or self._gone.get(jobid)
        if found is None and jobid not in self.followed and self._answered:
            found = self._look_for(jobid)
        return found

    def query(self, jobids: Collection[str]) -> None:
        asked = time.time()
        self.queries += 1
        user = str(os.getuid())
        argv = ("squeue", "--noheader", "--all", "--states=all", "--user", user, "-O", layout(JOB_FIELDS))
        answer = ask(argv)
        if answer is None or not answer.ok:
            return  # unknown stays unknown
        found = jobs(answer.out, asked)
        self._known = {**found, **{seen.name: seen for seen in found.values()}}
        self._answered = asked
        for jobid, since in list(self.followed.items()):
            if since < asked and jobid not in self._known and jobid not in self._gone:
                self._look_for(jobid)

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


_pollers: dict[tuple[int, str], SlurmPoller] = {}


def poller() -> SlurmPoller:
    """Return this process's poller for the cluster that SLURM_CONF names; a forked child has one of its own."""
    key = (os.getpid(), os.environ.get("SLURM_CONF", ""))
    return _pollers.get(key) or _pollers.setdefault(key, SlurmPoller())
