"""Hands a job to sbatch: options as arguments, and a script on its stdin that holds one quoted command line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from lazyllm.common.log import LOG
from lazyllm.errors import LauncherError

from .cluster import wait_for_controller
from .commands import run
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


def submit(options: Sequence[str], text: str, environ: Mapping[str, str]) -> str:
    """Submit a job whose script is `text` and return its number.

    Raises:
        LauncherError: Slurm refused it, or cannot be reached.
    """
    wait_for_controller()
    answer = run((*SBATCH, *options), stdin=text, limit=LIMIT, env=environ)
    number = answer.out.strip().rpartition("\n")[2].partition(";")[0].strip()
    if answer.ok and number.isdecimal():
        if answer.err.strip():
            LOG.warning("sbatch: %s", answer.err.strip())
        return number
    words = plain(answer.words)
    raise LauncherError(f"Slurm refused the job: {words}.", hint=hint_for(words))
