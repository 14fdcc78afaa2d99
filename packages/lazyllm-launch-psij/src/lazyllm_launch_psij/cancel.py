"""Asks a scheduler for a job's end."""

from __future__ import annotations

from collections.abc import Mapping

from lazyllm.errors import LauncherError

from .answers import UNKNOWN
from .commands import run
from .library import executor
from .schedulers import SCHEDULERS


def cancel(
    name: str,
    jobid: str,
    *,
    running: bool = False,
    force: bool = False,
    place: Mapping[str, str] | None = None,
) -> None:
    """Have the scheduler send a job SIGTERM; no error if it has ended.

    Slurm would signal all of a job's processes at once, and a program that is asked twice gives up what it was doing:
    if the job is `running`, only its runner is told, unless with `force`. `place` says where it was submitted.

    Raises:
        LauncherError: the scheduler does not do it.
    """
    argv = [str(part) for part in executor(name).get_cancel_command(jobid)]
    gently = [argv[0], "--batch", "--signal=TERM", jobid]
    if name == "slurm" and running and not force and run(name, gently, place=place).ok:
        return
    answer = run(name, argv, place=place)
    if answer.ok or UNKNOWN.search(answer.words) or "already finished" in answer.words:
        return
    raise LauncherError(
        f"{SCHEDULERS[name].title} does not cancel job {jobid}: {answer.words.rstrip('.')}.",
        hint=f"Try: {' '.join(argv)}",
    )
