"""The newest generation: `sco acp jobs create|list|describe|stream-logs|stop|delete`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from lazyllm.errors import InputError, LauncherError
from lazyllm.jobs.record import Record
from lazyllm.jobs.tools import Answer, Asking, locate

from .backend import Order
from .commands import WHOSE, run
from .parse import created, facts_of, jobs_of, says_missing, state_word
from .states import GONE, Seen
from .trouble import complaint, mention
from .wishes import FRAMEWORKS, Wishes

SUBMIT, QUERY, STOP = 60.0, 10.0, 10.0
"""Seconds that the tool may take."""
PAGE = "500"
FRESH = 0.4
"""Seconds for which a list is good enough for the next question."""


class Acp:
    """One list answers for all jobs of a workspace; a job that is not on it is asked for by its id."""

    generation = "acp"
    one_query = True

    def __init__(self, workspace: str) -> None:
        self.workspace = workspace
        self._rows: list[dict[str, Any]] | None = None
        self._when = float("-inf")
        self._ask = Asking(run)

    def check(self, wishes: Wishes) -> None:
        locate("sco", WHOSE)
        if wishes.container_image is None:
            raise InputError(
                "launchers.sco needs a container image with this generation of SenseCore's tools.",
                hint="Pass container_image=…, as sco acp jobs create --container-image-url has it.",
            )

    def _argv(self, verb: str, *more: str) -> list[str]:
        return ["sco", "acp", "jobs", verb, "--workspace-name", self.workspace, *more]

    def submit_argv(self, order: Order) -> list[str]:
        wishes = order.wishes
        options = {
            "aec2-name": order.partition,
            "job-name": order.name,
            "container-image-url": wishes.container_image,
            "training-framework": FRAMEWORKS.get(wishes.framework, wishes.framework),
            "worker-nodes": str(wishes.nnode),
            "worker-spec": wishes.worker_spec or wishes.resources,
            "priority": wishes.priority,
            "quota-type": wishes.quota_type,
            "storage-mount": ",".join(wishes.storage_mounts) or None,
            "command": order.script,
        }
        return self._argv(
            "create", *(word for name, value in options.items() if value for word in (f"--{name}", value))
        )

    def submit(self, order: Order) -> str | None:
        answer = run(self.submit_argv(order), limit=SUBMIT)
        order.log.write_text(answer.out + answer.err, "utf-8")
        order.log.chmod(0o600)
        jobid = created(answer.out + answer.err) if answer.ok else None
        if jobid is None and answer.code is None:
            jobid = self.find(order.name, fresh=0.0)  # it may have got through even so
        if not jobid:
            raise complaint("SenseCore refused the job", answer)
        return jobid

    def refusal(self, record: Record) -> LauncherError | None:
        return None

    def _list(self, fresh: float = FRESH) -> list[dict[str, Any]] | None:
        if time.monotonic() - self._when > fresh:
            answer = self._ask(self._argv("list", "--page-size", PAGE, "-o", "json"), limit=QUERY)
            self._rows = jobs_of(answer.out) if answer and answer.ok else None
            if answer and self._rows is None:
                mention(answer)
            self._when = time.monotonic()
        return self._rows

    def find(self, name: str, fresh: float = FRESH) -> str | None:
        rows = self._list(fresh)
        return None if rows is None else next((str(row["name"]) for row in rows if row.get("display_name") == name), "")

    def states(self, jobids: Iterable[str]) -> dict[str, Seen]:
        jobids, asked = list(jobids), time.time()
        words = self._words()
        if words is not None and not set(jobids) <= set(words):
            words = self._words(fresh=0.0)  # the last list may be older than the job
        if words is None:
            return {}
        found = {}
        for jobid in jobids:
            word = words[jobid] if jobid in words else self._describe(jobid)
            if word:
                found[jobid] = Seen(word, asked, jobid)
        return found

    def _words(self, fresh: float = FRESH) -> dict[str, str | None] | None:
        rows = self._list(fresh)
        return None if rows is None else {str(row["name"]): state_word(row) for row in rows}

    def _describe(self, jobid: str) -> str | None:
        answer = self._ask(self._argv("describe", "-o", "json", jobid), limit=QUERY)
        if answer is None:
            return None
        if answer.ok:
            return state_word(facts_of(answer.out))
        return GONE if says_missing(answer, jobid) else None

    def stop(self, jobid: str) -> Answer:
        return run(self._argv("stop", jobid), limit=STOP)

    def accepted(self, answer: Answer) -> bool:
        return answer.ok

    def removal(self, jobid: str) -> list[str]:
        return self._argv("delete", jobid)

    def output(self, jobid: str) -> str:
        try:
            answer = run(self._argv("stream-logs", jobid), limit=QUERY)
        except LauncherError:
            return ""
        return answer.out if answer.ok else ""
