"""What a scheduler says of this process's jobs."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from lazyllm.jobs.polling import Poller
from lazyllm.jobs.status import Status
from lazyllm.jobs.tools import Answer, Asking

from .answers import UNKNOWN, Word, asked, read
from .commands import run
from .library import executor

SINGLE = 20
"""Jobs that are asked about one by one, if the scheduler fails for all because it does not know one."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A job as it was seen last, at `asked` (seconds since 1970): `status`, None if the scheduler does not know it.

    `name` is what the scheduler calls it, "" if that is not told.
    """

    status: Status | None
    asked: float
    message: str = ""
    name: str = ""


class PsijPoller(Poller):
    """Asks by psij-python's status command, one for all jobs, and reads the answer by its parser."""

    quick, slow = 1.0, 15.0

    def __init__(self, name: str, place: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.name = name
        self.place = place
        self.queries = 0
        self._asking = Asking(self._run)
        self._known: dict[str, Seen] = {}

    def seen(self, jobid: str) -> Seen | None:
        """Return a job as it was seen last; None if it cannot be told."""
        self.refresh(jobid)
        return self._known.get(jobid)

    def leave(self, jobid: str) -> None:
        super().leave(jobid)
        self._known.pop(jobid, None)

    def query(self, jobids: Collection[str]) -> None:
        when = time.time()
        for jobid, word in self._ask(sorted(jobids)).items():
            before = self._known.get(jobid)
            self._known[jobid] = Seen(word.status, when, word.message, word.name)
            if before is None or before.status is not word.status:
                self._changed = time.monotonic()

    def _ask(self, jobids: list[str]) -> dict[str, Word]:
        answer = self._asking(jobids)
        if answer is None:
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

    def _run(self, jobids: list[str]) -> Answer:
        self.queries += 1
        return run(self.name, asked(self.name, executor(self.name).get_status_command(jobids)), place=self.place)


def _leaves_out(name: str, answer: Answer, understood: bool) -> bool:
    """Say whether a job that an answer leaves out is unknown; it is not if the answer made no sense."""
    if UNKNOWN.search(answer.err + answer.out):
        return True
    return answer.ok and (understood or (name == "slurm" and answer.out.startswith("JOBID")))


def poller(name: str, place: Mapping[str, str] | None) -> PsijPoller:
    """Return this process's poller of a scheduler at a place, or at the one that the environment tells."""
    key = None if place is None else tuple(sorted(place.items()))
    return PsijPoller.shared(lambda: PsijPoller(name, place), name, key)
