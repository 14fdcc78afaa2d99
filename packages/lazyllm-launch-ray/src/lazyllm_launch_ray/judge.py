"""What follows from Ray's word on a job for its record."""

from __future__ import annotations

import time
from typing import Any

from lazyllm.common.log import LOG
from lazyllm.errors import LauncherError
from lazyllm.jobs.polling import lives, said_since
from lazyllm.jobs.record import Record
from lazyllm.jobs.status import Status, state_of
from lazyllm.jobs.sweep import here, runner_alive

from . import note
from .api import Api, last_words
from .states import ENDS, GONE, STATES, Seen
from .submit import stop

LAG, LATE = 2.0, 30.0
"""Seconds after a job's end in which its runner's last word may still be on its way through the file system: if it may
have written one, and if it must have."""
LOST = 60.0
"""Seconds after which a job that the cluster does not know is believed to be lost: a head that restarts takes some."""
SILENT = 120.0
"""Seconds without a sign of life after which a job that has begun elsewhere is believed to be lost with it."""
HEEDED = 4.0
"""Seconds in which a runner that lives, wherever it is, finds in its folder that its job is to end."""

_strange: set[str] = set()


def judge(record: Record, api: Api, seen: Seen) -> Status | None:
    """Return a job's state, or None if its record says it better. An end that only Ray knows of is written down."""
    told = record.status()
    state = state_of(told)
    if state.ended:
        return state
    if seen.word == GONE:
        return _missing(record, told, seen)
    said_since(record, seen.word)
    asked = STATES.get(seen.word)
    if asked is None and seen.word not in _strange:
        _strange.add(seen.word)
        LOG.warning(
            "Ray calls the state of job %s %r, which means nothing here; it is watched on.", record.id, seen.word
        )
    if asked is Status.InQueue:
        return None if told else _waiting(record, api, seen)
    if asked is None or not asked.ended:
        return asked
    if here(told) and runner_alive(told):
        return None  # it is about to say it itself
    wrote = seen.code == 0 or (told and (seen.code or -1) > 0)
    if time.time() - (seen.ended or 0) < (LATE if wrote else LAG):
        return None
    return _end(record, asked, _why(record, told, asked, seen))


def _missing(record: Record, told: dict[str, Any], seen: Seen) -> Status | None:
    if here(told) and runner_alive(told):
        return None
    if seen.asked < float(record.data.get("created", 0)):
        return None  # the list is older than the job
    session = note.read(record).get("session") or ""
    if seen.session and seen.session < session:
        return None  # that cluster was there before: another one has the address now
    missed = seen.asked - said_since(record, GONE)
    if record.stopping and (not told or missed >= HEEDED):
        return Status.Cancelled
    if missed < LOST or (told and lives(record, SILENT)):
        return None
    what = "its runner left no last word" if told else "it never ran"
    return _end(record, Status.Failed, f"Ray no longer knows it, and {what}; perhaps the cluster was restarted")


def _waiting(record: Record, api: Api, seen: Seen) -> Status:
    if record.stopping:
        return Status.Cancelled  # Ray keeps it waiting even so; its runner would find that it is not wanted
    limit, waited = note.read(record).get("queue_timeout"), record.age
    if not isinstance(limit, (int, float)) or waited < limit:
        return Status.InQueue
    ended = _end(record, Status.Failed, f"waited {limit:g} s for resources, its queue_timeout; `ray status` shows them")
    try:
        stop(api, record.id)
    except LauncherError as error:
        LOG.warning("Job %s cannot be taken out of Ray's queue: %s", record.id, error.message)
    return ended


def _end(record: Record, state: Status, reason: str) -> Status:
    ended = state_of(record.finish(state, reason))
    record.ask_to_end()  # should it go on, or begin, even so, its runner ends it
    return ended


def _why(record: Record, told: dict[str, Any], state: Status, seen: Seen) -> str:
    if state is Status.Cancelled:
        return "stopped" if record.stopping else "stopped in Ray"
    if state is Status.Done:
        return ""
    words = last_words(seen.message)
    if own := ENDS.get(seen.kind):
        return own + (f" (Ray: {words})" if words else "")
    code = "" if seen.code is None else f"exit code {seen.code}"
    how = ", ".join(filter(None, (seen.word, code, words)))
    if told:
        return f"its runner died (Ray: {how})"
    return (
        f"its runner did not start on the node (Ray: {how}); "
        "the node must see LAZYLLM_HOME and this Python under the same paths"
    )
