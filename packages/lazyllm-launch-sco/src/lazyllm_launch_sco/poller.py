"""What SenseCore says of the jobs of one workspace."""

from __future__ import annotations

import os
import time
from collections.abc import Collection

from lazyllm.jobs.polling import Poller

from .backend import Backend, backend_of
from .states import GONE, Seen

PREFIX = "s_flag_"
"""What the names of our jobs begin with: on SenseCore they begin with a letter."""
FEW = 5
"""So many jobs are asked for one by one at the usual rate; more of them less often."""


class ScoPoller(Poller):
    """Asks one generation's tools. A job goes by its id, or by its name as long as it was not listed."""

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self.backend = backend
        self._known: dict[str, Seen] = {}

    def seen(self, jobid: str) -> Seen | None:
        """Return a job as it was seen last; None if it cannot be told."""
        self.refresh(jobid)
        return self._known.get(jobid)

    def pause(self, quiet: float) -> float:
        many = 1.0 if self.backend.one_query else max(1.0, len(self.followed) / FEW)
        return super().pause(quiet) * many

    def query(self, jobids: Collection[str]) -> None:
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


_pollers: dict[tuple[int, str, str, str], ScoPoller] = {}


def poller(generation: str, workspace: str) -> ScoPoller:
    """Return this process's poller for a workspace; a forked child has one of its own."""
    key = (os.getpid(), generation, workspace, os.environ.get("PATH", ""))
    return _pollers.get(key) or _pollers.setdefault(key, ScoPoller(backend_of(generation, workspace)))
