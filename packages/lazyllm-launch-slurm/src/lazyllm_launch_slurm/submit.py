"""Hands a job to sbatch: options as arguments, and a script on its stdin that holds one quoted command line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from lazyllm.common.log import LOG
from lazyllm.errors import LauncherError

from .cluster import wait_for_controller
from .commands import run

LIMIT = 60.0
"""Seconds that sbatch may take; job filters of a site may be slow."""

HINTS = (
    ("partition", "sinfo -s lists the partitions."),
    ("account", "sacctmgr show assoc user=$USER format=account,partition,qos lists the accounts that you may use."),
    ("qos", "sacctmgr show assoc user=$USER format=account,qos lists the QOS that you may use."),
    ("feature", "sinfo -N -o '%N %f' lists what constraint can name."),
    ("node name", "sinfo -N -o '%N' lists the nodes."),
    ("node configuration|generic resource|gres|memory|processors|node count", "sinfo -N -o '%N %c %m %G' lists sizes."),
    ("time", "scontrol show partition shows the time limits."),
    ("contact|connect|communication|timed out", "scontrol ping tells when the controller is back."),
    ("reservation", "scontrol show reservation lists the reservations."),
    ("munge|credential|authentication|expired", "Ask the cluster's administrator to look at munge, or log in anew."),
    ("limit|denied|permi", "sacctmgr show assoc user=$USER shows your limits."),
)


def name_of(name: str, record_id: str) -> str:
    """Return the job's name in Slurm: readable, and found again by its end, which is the record's id."""
    readable = re.sub(r"[^A-Za-z0-9_.+-]+", "_", name).strip("_")[:40]
    return f"{readable or 'job'}-{record_id}"


def script(argv: Sequence[str]) -> str:
    """Return the batch script that becomes `argv`."""
    return f"#!/bin/sh\nexec {shlex.join(argv)}\n"


def submit(options: Sequence[str], argv: Sequence[str], environ: Mapping[str, str]) -> str:
    """Submit a job and return its number.

    Raises:
        LauncherError: Slurm refused it, or cannot be reached.
    """
    wait_for_controller()
    answer = run(("sbatch", "--parsable", *options), stdin=script(argv), limit=LIMIT, env=environ)
    number = answer.out.strip().rpartition("\n")[2].partition(";")[0].strip()
    if answer.ok and number.isdecimal():
        if answer.err.strip():
            LOG.warning("sbatch: %s", answer.err.strip())
        return number
    words = re.sub(r"sbatch: (error: )?", "", answer.words)
    hint = next((hint for pattern, hint in HINTS if re.search(pattern, words, re.I)), "Its words are Slurm's own.")
    raise LauncherError(f"Slurm refused the job: {words.rstrip('.')}.", hint=hint)
