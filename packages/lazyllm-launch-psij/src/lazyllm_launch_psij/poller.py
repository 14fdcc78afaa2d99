"""What a scheduler says of this process's jobs."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from dataclasses import dataclass

from lazyllm.errors import LauncherError
from lazyllm.jobs.polling import Poller
from lazyllm.jobs.status import Status
from lazyllm.jobs.tools import Answer

from .answers import UNKNOWN, Word, read
from .commands import run
from .library import executor

SINGLE = 20
"""Jobs that are asked about one by one, if the scheduler fails for all because it does not know one."""
DEAF = 10.0
"""Seconds for which nothing more is asked after a question without an answer: the next would wait as long."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A job as it was seen last, at `asked` (seconds since 1970): `status`, None if the scheduler does not know it."""

    status: Status | None
    asked: float
    message: str = ""


class PsijPoller(Poller):
    """Asks by psij-python's status command, one for all jobs, and reads the answer by its parser."""

    quick, slow = 1.0, 15.0

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.queries = 0
        self._again = float("-inf")
        self._known: dict[str, Seen] = {}

    def seen(self, jobid: str) -> Seen | None:
        """Return a job as it was seen last; None if it cannot be told."""
        self.refresh(jobid)
        return self._known.get(jobid)

    def leave(self, jobid: str) -> None:
        super().leave(jobid)
        self._known.pop(jobid, None)

    def query(self, jobids: Collection[str]) -> None:
        asked = time.time()
        for jobid, word in self._ask(sorted(jobids)).items():
            before = self._known.get(jobid)
            self._known[jobid] = Seen(word.status, asked, word.message)
            if before is None or before.status is not word.status:
                self._changed = time.monotonic()

    def _ask(self, jobids: list[str]) -> dict[str, Word]:
        answer = self._run(jobids)
        if answer is None or answer.code is None:
            return {}
        found = read(executor(self.name), self.name, answer.out)
        missing = [jobid for jobid in jobids if jobid not in found]
        if answer.ok or len(jobids) == 1:
            if _leaves_out(self.name, answer, bool(found)):
                found.update(dict.fromkeys(missing, Word(None)))
        else:
            for jobid in missing[:SINGLE]:
                found.update(self._ask([jobid]))
        return {jobid: found[jobid] for jobid in jobids if jobid in found}

    def _run(self, jobids: list[str]) -> Answer | None:
        if time.monotonic() < self._again:
            return None
        self.queries += 1
        try:
            answer = run(self.name, executor(self.name).get_status_command(jobids))
        except LauncherError:
            return None
        if answer.code is None:
            self._again = time.monotonic() + DEAF
        return answer


def _leaves_out(name: str, answer: Answer, understood: bool) -> bool:
    """Say whether a job that an answer leaves out is unknown; it is not if the answer made no sense."""
    if UNKNOWN.search(answer.err + answer.out):
        return True
    return answer.ok and (understood or (name == "slurm" and answer.out.startswith("JOBID")))


_pollers: dict[tuple[int, str, str], PsijPoller] = {}


def poller(name: str) -> PsijPoller:
    """Return this process's poller of a scheduler; a forked child has one of its own."""
    key = (os.getpid(), name, os.environ.get("SLURM_CONF", ""))
    return _pollers.get(key) or _pollers.setdefault(key, PsijPoller(name))
