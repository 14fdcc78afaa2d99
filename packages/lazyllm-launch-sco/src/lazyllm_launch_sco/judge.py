"""What follows from SenseCore's word on a job for its record."""

from __future__ import annotations

import re
from typing import Any

from lazyllm.common.log import LOG
from lazyllm.jobs.polling import lives, said_since
from lazyllm.jobs.record import Record
from lazyllm.jobs.status import Status, state_of

from .backend import Backend, log_of
from .states import GONE, STATES, Seen
from .ticket import PREFIX, same_tools, ticket_of

LAG = 5.0
"""Seconds after a job's end in which its runner's last word may still be on its way through the file system."""
UNSURE = 60.0
"""Age in seconds from which on a job that SenseCore does not list is believed to be lost: it lists jobs late."""
LOST = 15.0
"""Seconds for which it must not have been listed."""
SILENT = 120.0
"""Seconds without a sign of life after which a job that has begun is believed to be lost."""
BEHIND = 15.0
"""Seconds that SenseCore may take to say that a job runs: only later is one believed to be back in the queue."""
AGAIN = ("restarting", "recovering")
"""Words that say so themselves."""
TAIL = 1 << 14
"""Bytes of SenseCore's own output that are kept of a job whose runner never said anything."""

ACTIVATE = re.compile(r"\bactivate\b|\bconda\b")

_puzzled: set[tuple[str, str]] = set()


def judge(record: Record, jobid: str, seen: Seen, backend: Backend) -> Status | None:
    """Return a job's state, or None if its record says it better. An end that only SenseCore knows is written down."""
    told = record.status()
    state = state_of(told)
    if state.ended:
        return state
    lasting = seen.asked - said_since(record, seen.word)
    if seen.word == GONE:
        return _gone(record, jobid, told, lasting)
    asked = STATES.get(seen.word)
    if asked is None:
        if seen.word and (record.id, seen.word) not in _puzzled:
            _puzzled.add((record.id, seen.word))
            LOG.warning("Job %s is %r on SenseCore, which says nothing here; it will be asked again.", jobid, seen.word)
        return None
    if not asked.ended:
        behind = float(told.get("started") or 0) > seen.asked - (0 if seen.word in AGAIN else BEHIND)
        return None if told and (behind or asked is not Status.InQueue) else asked
    if lasting < LAG and not (asked is Status.Cancelled and not told):
        return None
    if asked is Status.Done:
        return _end(record, Status.Done, "succeeded on SenseCore, though its runner's last word did not arrive")
    if asked is Status.Cancelled:
        return _end(record, asked, "stopped" if record.stopping else f"{seen.word} on SenseCore")
    if record.stopping:
        return _end(record, Status.Cancelled, "stopped")
    if told:
        return _end(record, Status.Failed, f"its runner died (SenseCore: {seen.word})")
    _keep_output(record, backend.output(jobid))
    return _end(record, Status.Failed, _unstarted(record, seen.word))


def _unstarted(record: Record, word: str) -> str:
    """Return why a job failed whose runner never said anything, as far as its output tells."""
    ticket = ticket_of(record)
    env = ticket.env if ticket else ""
    lines = record.log.read_text("utf-8", "replace").splitlines()
    words = next((line.strip()[:300] for line in reversed(lines) if ACTIVATE.search(line)), "")
    reason = f"its runner did not start on the node (SenseCore: {word})" + (f": {words}" if words else "")
    if not words:
        reason += "; the node must see LAZYLLM_HOME and this Python under the same paths"
    if env or words:
        named = f" {env}" if env else ""
        reason += (
            f"; sco_env_name (LAZYLLM_SCO_ENV_NAME) has it begin with `source activate{named}`, which must work there"
        )
    return reason


def _gone(record: Record, jobid: str, told: dict[str, Any], lasting: float) -> Status | None:
    ticket = ticket_of(record)
    if ticket and not same_tools(ticket):
        return None  # another SenseCore, or another user's, knows nothing of it
    if record.stopping and (not told or lasting >= LAG):
        return _end(record, Status.Cancelled, "stopped", jobid)
    if lasting < LOST or record.age < UNSURE or (told and lives(record, SILENT)):
        return None
    if told:
        return _end(record, Status.Cancelled, "deleted on SenseCore, and its runner left no last word")
    return _end(record, Status.Failed, "SenseCore does not have it, and it never ran", jobid)


def _keep_output(record: Record, text: str) -> None:
    """Add what SenseCore printed of the job to its output, which is empty."""
    if not text:
        log = log_of(record)
        text = log.read_text("utf-8", "replace") if log.exists() else ""
    with record.log.open("a", encoding="utf-8") as file:
        file.write(text[-TAIL:])


def _end(record: Record, state: Status, reason: str, unlisted: str = "") -> Status:
    """Write a job's end; one that goes by its name because it was never listed may be listed yet."""
    ended = state_of(record.finish(state, reason, unconfirmed=unlisted.startswith(PREFIX)))
    if ended is Status.Failed:
        record.ask_to_end()  # should it go on, or begin, even so, its runner ends it
    return ended
