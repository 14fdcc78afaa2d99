"""Jobs that have ended while SenseCore did not list them, or did not answer: whoever sees them there cancels them."""

from __future__ import annotations

import time

from lazyllm.common.log import LOG
from lazyllm.errors import LauncherError
from lazyllm.jobs.record import Record

from .backend import Backend
from .parse import says_missing
from .states import GONE, STATES
from .ticket import PREFIX, same_tools, ticket_of

FORGOTTEN = 3600.0
"""Seconds after its end after which a job that was never listed is believed not to be there."""


def settle(record: Record, backend: Backend) -> bool | None:
    """Cancel a job that has ended if SenseCore has it even so: True. False if it has not; None if that is not known."""
    ticket = ticket_of(record)
    if ticket is None or not same_tools(ticket):
        return None
    jobid = str(record.jobid or "")
    number = backend.find(PREFIX + record.id) if jobid.startswith(PREFIX) else jobid
    if not number:
        ended = float(record.status().get("ended") or 0)
        return False if number == "" and time.time() - ended > FORGOTTEN else None
    seen = backend.states([number]).get(number)
    state = STATES.get(seen.word) if seen else None
    if (seen and seen.word == GONE) or (state and state.ended):
        return False
    try:
        answer = backend.stop(number)
    except LauncherError:
        return None
    if says_missing(answer, number):
        return False
    if not backend.accepted(answer):
        return None
    LOG.info("Job %s, which has ended, was on SenseCore as %s: cancelled there.", record.id, number)
    return True
