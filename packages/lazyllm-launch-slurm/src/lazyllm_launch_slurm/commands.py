"""Slurm's own programs, in an environment that an enclosing job or a user's display settings do not bend."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from lazyllm.errors import LauncherError
from lazyllm.jobs import tools
from lazyllm.jobs.tools import Answer

PING_LIMIT = 2.0
"""Seconds for a sign of life from the controller, which takes milliseconds if it lives."""
KEPT = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT")
REFORMING = ("SQUEUE_", "SINFO_", "SCONTROL_", "SACCT_", "SCANCEL_")
"""Variables of a user's that change what a query asks for or how it answers."""
SURPRISING = ("SBATCH_ARRAY_INX", "SBATCH_WAIT", "SBATCH_IGNORE_PBS")


def run(argv: Sequence[str], *, stdin: str = "", limit: float = 10.0, env: Mapping[str, str] | None = None) -> Answer:
    """Run a program of Slurm's and return its answer; None as its code if `limit` seconds were not enough.

    Raises:
        LauncherError: it is not on PATH.
    """
    return tools.run(argv, whose="Slurm", stdin=stdin, limit=limit, env=clean(os.environ if env is None else env))


def clean(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` without what an enclosing Slurm job or a user's display settings would mix into ours."""
    return {
        name: value
        for name, value in environ.items()
        if name in KEPT or not (name.startswith(("SLURM_", "SLURMD_", *REFORMING)) or name in SURPRISING)
    }


def controller_answers() -> bool:
    """Say whether a controller lives: other commands block for up to 40 s if none does."""
    return " is UP" in run(("scontrol", "ping"), limit=PING_LIMIT).out


def ask(argv: Sequence[str], *, limit: float = 10.0) -> Answer | None:
    """Return the answer to a query; None if Slurm cannot be asked just now."""
    try:
        return run(argv, limit=limit) if controller_answers() else None
    except LauncherError:
        return None
