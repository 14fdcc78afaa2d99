"""Slurm's own programs, in an environment that an enclosing job or a user's display settings do not bend."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lazyllm.errors import LauncherError
from lazyllm.jobs import tools
from lazyllm.jobs.tools import Answer

NOW = 1.0
"""Seconds for which a sign of life from the controller will do for another question."""
PING_LIMIT = 2.0
"""Seconds for a sign of life from the controller, which takes milliseconds if it lives."""
KEPT = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT")
REFORMING = ("SQUEUE_", "SINFO_", "SCONTROL_", "SACCT_", "SCANCEL_")
"""Variables of a user's that change what a query asks for or how it answers."""
OURS = (
    "SBATCH_TIME", "SBATCH_PARTITION", "SBATCH_GPUS", "SBATCH_GRES", "SBATCH_CONTAINER", "SBATCH_CLUSTERS",
    "SBATCH_JOB_NAME", "SBATCH_EXPORT", "SBATCH_GET_USER_ENV", "SBATCH_OPEN_MODE", "SBATCH_REQUEUE",
    "SBATCH_NO_REQUEUE", "SBATCH_ARRAY", "SBATCH_WAIT", "SBATCH_IGNORE_PBS",
)  # fmt: skip
"""What sbatch's variables begin with that speak of what the launcher says itself, also by saying nothing."""

_answered: dict[tuple[str | None, ...], float] = {}


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
        if name in KEPT or not name.startswith(("SLURM_", "SLURMD_", *REFORMING, *OURS))
    }


def scancel(jobid: str, *options: str, name: str) -> tuple[str, ...]:
    """Return the command line that cancels a job of ours by its name and, if it is known, its number."""
    target = (f"--name={name}", f"--user={os.getuid()}")
    return ("scancel", *options, *target, *((jobid,) if jobid.isdecimal() else ()))


def ping(limit: float = PING_LIMIT, env: Mapping[str, str] | None = None) -> Answer:
    """Ask for a sign of life from the controller; the answer is `ok` if one came.

    Raises:
        LauncherError: scontrol is not on PATH.
    """
    tools.locate("scontrol", "Slurm")
    path = (os.environ if env is None else env).get("SLURM_CONF")
    if path and not Path(path).exists():  # scontrol would look for it for a minute
        return Answer(1, "", f"cannot stat {path}, which SLURM_CONF names")
    answer = run(("scontrol", "ping"), limit=limit, env=env)
    up = " is UP" in answer.out
    _answered[_named(env)] = time.monotonic() if up else float("-inf")
    return answer if up else replace(answer, code=answer.code or 1)


def answered(env: Mapping[str, str] | None = None) -> bool:
    """Say whether the controller gave its last sign of life just now: one more would tell no news."""
    return time.monotonic() - _answered.get(_named(env), float("-inf")) < NOW


def _named(env: Mapping[str, str] | None) -> tuple[str | None, ...]:
    environ = os.environ if env is None else env
    return tuple(environ.get(name) for name in KEPT)


def ask(argv: Sequence[str], *, limit: float = 10.0, env: Mapping[str, str] | None = None) -> Answer | None:
    """Return the answer to a query; None if Slurm cannot be asked just now.

    No controller that answers means no question: other commands block for up to 40 s then.
    """
    try:
        return run(argv, limit=limit, env=env) if ping(env=env).ok else None
    except LauncherError:
        return None
