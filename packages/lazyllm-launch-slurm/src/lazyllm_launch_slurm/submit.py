"""Hands a job to sbatch: options as arguments, and a script on its stdin that holds one quoted command line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from lazyllm.common.log import LOG
from lazyllm.errors import LauncherError

from .cluster import wait_for_controller
from .commands import answered, run
from .hints import hint_for, plain

SBATCH = ("sbatch", "--parsable")
LIMIT = 60.0
"""Seconds that sbatch may take; job filters of a site may be slow."""


def name_of(name: str, record_id: str) -> str:
    """Return the job's name in Slurm: readable, and found again by its end, which is the record's id."""
    readable = re.sub(r"[^A-Za-z0-9_.+-]+", "_", name).strip("_")[:40]
    return f"{readable or 'job'}-{record_id}"


def script(argv: Sequence[str]) -> str:
    """Return the batch script that becomes `argv`."""
    return f"#!/bin/sh\nexec {shlex.join(argv)}\n"


def shown(options: Sequence[str], text: str) -> str:
    """Return the submission of the script `text` as one would type it."""
    return f"{shlex.join((*SBATCH, *options))} <<'EOF'\n{text}EOF"


def submit(options: Sequence[str], text: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Submit a job whose script is `text`; return its number and, if there was a choice, the cluster that took it.

    Raises:
        LauncherError: Slurm refused it, or cannot be reached.
    """
    if not answered():  # of many jobs in a row each would ask
        wait_for_controller()
    answer = run((*SBATCH, *options), stdin=text, limit=LIMIT, env=environ)
    number, _, cluster = answer.out.strip().rpartition("\n")[2].partition(";")
    if answer.ok and number.strip().isdecimal():
        if answer.err.strip():
            LOG.warning("sbatch: %s", plain(answer.err))
        return number.strip(), cluster.strip()
    if answer.ok:
        said = repr(answer.words[:200]) if answer.out.strip() or answer.err.strip() else "nothing"
        raise LauncherError(
            f"sbatch named no job number where one was expected; it said {said}.",
            hint="squeue --me shows whether the job is there; sbatch --parsable should print its number.",
        )
    words = plain(answer.words)
    raise LauncherError(f"Slurm refused the job: {words}.", hint=hint_for(words))
