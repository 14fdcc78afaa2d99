"""What SenseCore says of the jobs of one workspace."""

from __future__ import annotations

import os
import time
from collections.abc import Collection

from lazyllm.jobs.polling import Poller
from lazyllm.jobs.record import Record

from .backend import Backend, backend_of
from .owed import settle
from .states import GONE, Seen
from .ticket import PREFIX

FEW = 5
"""So many jobs are asked for one by one at the usual rate; more of them less often."""


class ScoPoller(Poller):
    """Asks one generation's tools. A job goes by its id, or by its name as long as it was not listed."""

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self.backend = backend
        self._known: dict[str, Seen] = {}
        self._owed: dict[str, Record] = {}

    def seen(self, jobid: str) -> Seen | None:
        """Return a job as it was seen last; None if it cannot be told."""
        self.refresh(jobid)
        return self._known.get(jobid)

    def pause(self, quiet: float) -> float:
        many = 1.0 if self.backend.one_query else max(1.0, len(self.followed) / FEW)
        return super().pause(quiet) * many

    def owe(self, record: Record) -> None:
        """See to it, as long as this process lives, that a job that has ended is cancelled once it is listed."""
        self._owed[record.id] = record
        self.follow(PREFIX + record.id)

    def _settle(self) -> None:
        for key, record in [*self._owed.items()]:
            if not record.status().get("unconfirmed") or settle(record, self.backend) is not None:
                record.confirmed()
                del self._owed[key]
                self.leave(PREFIX + key)

    def query(self, jobids: Collection[str]) -> None:
        self._settle()
        ids: dict[str, str] = {}
        for jobid in jobids:
            number = self.backend.find(jobid) if jobid.startswith(PREFIX) else jobid
            if number:
                ids[jobid] = number
            elif number is not None:
                self._known[jobid] = Seen(GONE, time.time())
        found = self.backend.states(list(ids.values())) if ids else {}
        for jobid, number in ids.items():
            if number in found:
                self._known[jobid] = found[number]
            elif number != jobid:
                self._known[jobid] = Seen("", time.time(), number)


def poller(generation: str, workspace: str) -> ScoPoller:
    """Return this process's poller for a workspace."""
    key = (generation, workspace, os.environ.get("PATH", ""))
    return ScoPoller.shared(lambda: ScoPoller(backend_of(generation, workspace)), *key)
