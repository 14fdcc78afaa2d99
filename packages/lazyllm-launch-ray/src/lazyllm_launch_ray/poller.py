"""What Ray says of its jobs: one query answers for all of them, whoever in this process asks."""

from __future__ import annotations

import time
from collections.abc import Collection

from lazyllm.common.log import LOG
from lazyllm.errors import LazyLLMError
from lazyllm.jobs.polling import Poller

from .api import Api, UnreachableError, api, fail
from .states import GONE, Seen, jobs

SHARE = 10
"""A query that took a second is not repeated within this many: the list holds all jobs that the cluster ever had."""


class RayPoller(Poller):
    """Lists all jobs of a cluster."""

    everything = True

    def __init__(self, source: Api) -> None:
        super().__init__()
        self._api = source
        self._known: dict[str, Seen] = {}
        self._gone: dict[str, Seen] = {}
        self._answered = 0.0
        self._session = ""
        self._silent = False
        self.queries = 0

    def seen(self, jobid: str) -> Seen | None:
        """Return a job as it was seen last; None if it cannot be told just now."""
        self.refresh(jobid)
        if self._silent or not self._answered:
            return None
        if jobid not in self._known and jobid not in self._gone:
            if not self._gone:
                self._session = session_of(self._api)
            self._gone[jobid] = Seen(GONE, self._answered, session=self._session)
        return self._known.get(jobid) or self._gone[jobid]

    def pause(self, quiet: float) -> float:
        return max(super().pause(quiet), self.cost * SHARE)

    def query(self, jobids: Collection[str]) -> None:
        asked = time.time()
        self.queries += 1
        try:
            rows = self._api.get("/api/jobs/")
            if not isinstance(rows, list):
                fail(self._api.shown, "/api/jobs/", 200, "")
        except LazyLLMError as error:
            self._hush(error)
            return
        if self._silent:
            self._silent = False
            LOG.info("Ray at %s answers again.", self._api.shown)
        self._known, self._gone, self._answered = jobs(rows, asked), {}, asked

    def _hush(self, error: LazyLLMError) -> None:
        """Note, and say once, that nothing can be told for now."""
        if not self._silent:
            self._silent = True
            what = "" if isinstance(error, UnreachableError) else f" {error.hint}"
            then = "It will be asked again. Jobs there go on if it is only out of reach; if it died, they end."
            LOG.warning("%s %s%s", error.message, then, what)


def session_of(source: Api) -> str:
    """Return the name of a cluster's session, which holds when it began; empty if that cannot be told."""
    try:
        told = source.get("/api/version")
    except LazyLLMError:
        return ""
    return str(told.get("session_name") or "") if isinstance(told, dict) else ""


def poller(url: str) -> RayPoller:
    """Return this process's poller for the cluster at `url`."""
    return RayPoller.shared(lambda: RayPoller(api(url)), url)
