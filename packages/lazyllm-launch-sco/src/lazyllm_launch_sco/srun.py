"""The older generations: srun, squeue, scontrol and scancel of SenseCore's own."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable

from lazyllm.errors import LauncherError
from lazyllm.jobs.record import Record
from lazyllm.jobs.tools import Answer, Asking, locate

from .backend import OLDER, Order, log_of
from .commands import WHOSE, run, start
from .parse import facts_of, listed, says_missing, state_word
from .states import GONE, Seen
from .trouble import complaint, mention
from .wishes import Wishes

QUERY = 5.0
"""Seconds that squeue and scontrol may take."""
FRESH = 0.2
"""Seconds for which a table is good enough for the next question."""
STOP = 3.0
"""Seconds that scancel may take."""

_clients: dict[str, subprocess.Popen[bytes]] = {}


class Srun:
    """srun prints what the job prints, and goes on until the job's end; it is left alone with that.

    The older form takes -m on one node and -d AllReduce on several, and a command under bash -c; the newer one takes
    neither, and the command as one text.
    """

    one_query = False

    def __init__(self, workspace: str, older: bool) -> None:
        self.generation = "srun" if older else "srun-new"
        self.workspace = workspace
        self._at = f"--workspace-id={workspace}"
        self._ask = Asking(run)
        self._table: Answer | None = None
        self._when = float("-inf")

    def check(self, wishes: Wishes) -> None:
        for name in OLDER:
            locate(name, WHOSE)

    def submit_argv(self, order: Order) -> list[str]:
        wishes = order.wishes
        argv = ["srun", "-p", order.partition, "--workspace-id", order.workspace, f"--job-name={order.name}"]
        argv += ["-f", wishes.framework, "-r", wishes.worker_spec or wishes.resources, "-N", str(wishes.nnode)]
        argv += ["--priority", wishes.priority]
        if self.generation == "srun":
            argv += [*(("-m",) if wishes.nnode == 1 else ("-d", "AllReduce")), "bash", "-c"]
        return [*argv, order.script]

    def submit(self, order: Order) -> str | None:
        _reap()
        _clients[order.record.id] = start(self.submit_argv(order), order.log, order.mark)
        return None

    def refusal(self, record: Record) -> LauncherError | None:
        client, log = _clients.get(record.id), log_of(record)
        if client is None or client.poll() in (None, 0):
            return None
        text = log.read_text("utf-8", "replace") if log.exists() else ""
        return complaint("SenseCore refused the job", Answer(client.returncode, text))

    def find(self, name: str, fresh: float = FRESH) -> str | None:
        if time.monotonic() - self._when > fresh:
            self._table = self._ask(("squeue", self._at, "-o", "jobname,jobid"), limit=QUERY)
            self._when = time.monotonic()
        return listed(self._table.out, name) if self._table and self._table.ok else None

    def states(self, jobids: Iterable[str]) -> dict[str, Seen]:
        found = {}
        for jobid in jobids:
            asked = time.time()
            answer = self._ask(("scontrol", self._at, "show", "job", jobid), limit=QUERY)
            if answer is None:
                break  # it hangs: the others would, too
            word = state_word(facts_of(answer.out)) if answer.ok else None
            if word is None and says_missing(answer, jobid):
                word = GONE
            if word:
                found[jobid] = Seen(word, asked, jobid)
            else:
                mention(answer)
        return found

    def stop(self, jobid: str) -> Answer:
        return run(("scancel", self._at, jobid), limit=STOP)

    def accepted(self, answer: Answer) -> bool:
        return "success scancel" in answer.out + answer.err

    def removal(self, jobid: str) -> list[str]:
        return ["scancel", self._at, jobid]

    def output(self, jobid: str) -> str:
        return ""  # srun has written it into the record


def _reap() -> None:
    """Forget srun processes that have ended, if there are many: what one said is asked for soon after its start."""
    if len(_clients) > 64:
        for record_id in [key for key, client in _clients.items() if client.poll() is not None]:
            del _clients[record_id]
