"""Ends jobs, and removes SenseCore's entries of them."""

from __future__ import annotations

import shlex
import time
from contextlib import suppress

from lazyllm.common.log import LOG
from lazyllm.configs import config
from lazyllm.errors import LauncherError
from lazyllm.jobs.record import Record
from lazyllm.jobs.status import Status
from lazyllm.jobs.tools import Answer

from .backend import Backend, log_of
from .commands import start
from .parse import says_missing
from .ticket import PREFIX, given_up, same_tools, ticket_of
from .trouble import complaint

TRIES, PAUSE = 3, 0.5
"""How often a job's end is asked for, and the seconds between two times."""
ENOUGH = 8.0
"""Seconds after which it is not asked for once more: the tools hang."""
AFTER = 5.0
"""Seconds after its end that a job's entry is removed: SenseCore sees the end later than its runner."""
LATER = 'sleep "$0"; exec "$@"'
ELSEWHERE = "it was submitted with other tools, settings or another HOME, and these do not know it"


def stop(record: Record, jobid: str, backend: Backend, force: bool) -> None:
    """Ask for a job's end and return soon. Its node sees the record's own wish, too, should SenseCore be slow.

    Raises:
        LauncherError: SenseCore does not do it, and the job has not begun, so nobody else can.
    """
    if force:
        (record.folder / "sco-kill").touch(mode=0o600)
    begun = bool(record.status())
    if config["sco_keep_record"]:
        by_hand = shlex.join(backend.removal(jobid))
        LOG.info("sco_keep_record is on: SenseCore keeps job %s. To delete it by hand: %s", jobid, by_hand)
        if begun and backend.generation != "acp":
            return  # there, to cancel is to delete
    trouble = _ask(record, jobid, backend)
    if trouble is None or record.state.ended:
        return
    if not begun:
        if record.status() or not _never_sent(record, jobid, backend):
            raise trouble
        record.finish(Status.Cancelled, "stopped before it ran", unconfirmed=True)  # it may be listed later
        return
    LOG.warning("%s Its own runner was told to end it.", trouble.message)


def _ask(record: Record, jobid: str, backend: Backend) -> LauncherError | None:
    """Ask until it is accepted; else return what was wrong."""
    what = f"SenseCore did not cancel job {jobid}"
    answer, begun = Answer(None, "", "it is not listed (yet)"), time.monotonic()
    for n in range(TRIES):
        if n and time.monotonic() - begun > ENOUGH:
            break
        if n:
            time.sleep(PAUSE)
        if record.state.ended:
            return None
        number = backend.find(jobid) if jobid.startswith(PREFIX) else jobid
        if not number:
            if number is None:
                answer = Answer(None, "", "no answer when its id was asked for")
            continue
        try:
            answer = backend.stop(number)
        except LauncherError as error:
            return error
        if backend.accepted(answer):
            return None
        if says_missing(answer, number):
            ticket = ticket_of(record)
            if ticket is None or same_tools(ticket):
                return None
            return LauncherError(f"{what}: {ELSEWHERE}.", hint="Ask again as it was submitted.")
    return complaint(what, answer)


def _never_sent(record: Record, jobid: str, backend: Backend) -> bool:
    """Say whether SenseCore never got the job: it has no id, nobody is submitting it, and it is not listed."""
    return jobid.startswith(PREFIX) and given_up(record) and backend.find(jobid, fresh=0.0) == ""


def remove(record: Record, jobid: str, backend: Backend) -> None:
    """Have SenseCore forget a job that has ended in order, without waiting for it; a failed one stays."""
    if config["sco_keep_record"] or jobid.startswith(PREFIX) or record.state not in (Status.Done, Status.Cancelled):
        return
    if backend.generation != "acp" and record.stopping:
        return  # scancel has done that
    try:
        start(["sh", "-c", LATER, str(AFTER), *backend.removal(jobid)], log_of(record), {})
    except LauncherError as error:
        LOG.debug("%s", error)


def withdraw(name: str, backend: Backend) -> None:
    """Cancel the job `name` if it is there: its submission was interrupted, perhaps too late."""
    if number := backend.find(name, fresh=0.0):
        with suppress(LauncherError):
            backend.stop(number)
