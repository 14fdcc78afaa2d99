"""Asks a scheduler for a job's end."""

from __future__ import annotations

import os

from lazyllm.errors import LauncherError
from lazyllm.jobs.record import Record

from .answers import UNKNOWN
from .commands import run
from .home import elsewhere
from .library import executor
from .schedulers import SCHEDULERS
from .submit import name_of
from .unsent import place_of


def cancel(record: Record, name: str, jobid: str, *, running: bool = False, force: bool = False) -> None:
    """Have the scheduler that was given a job send it SIGTERM; no error if it has ended.

    Slurm would signal all of a job's processes at once, and a program that is asked twice gives up what it was doing:
    if the job is `running`, only its runner is told, unless with `force`.

    Raises:
        LauncherError: the scheduler does not do it, or another cluster answers, whose job of this id is another.
    """
    if words := elsewhere(record, name, fresh=True):
        raise LauncherError(words, hint="Try again where the commands speak of the job's own cluster.")
    place, argv = place_of(record), _argv(record, name, jobid)
    gently = [argv[0], "--batch", "--signal=TERM", *argv[1:]]
    if name == "slurm" and running and not force and run(name, gently, place=place).ok:
        return
    answer = run(name, argv, place=place)
    if answer.ok or UNKNOWN.search(answer.words) or "already finished" in answer.words:
        return
    raise LauncherError(
        f"{SCHEDULERS[name].title} does not cancel job {jobid}: {answer.words.rstrip('.')}.",
        hint=f"Try: {' '.join(argv)}",
    )


def _argv(record: Record, name: str, jobid: str) -> list[str]:
    """Return the command that cancels a job; Slurm's by the job's name too, so that it can be no other's."""
    if name != "slurm":
        return [str(part) for part in executor(name).get_cancel_command(jobid)]
    called = name_of(str(record.data.get("name", "")), record.id, SCHEDULERS[name].longest)
    return ["scancel", f"--name={called}", f"--user={os.getuid()}", jobid]
