"""A scheduler's programs, in an environment that a job around us, or a user's display settings, do not bend."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from lazyllm.jobs import tools
from lazyllm.jobs.tools import Answer

from .schedulers import SCHEDULERS

LIMIT = 10.0
"""Seconds that a program may take, unless it submits: whoever lists or stops jobs waits for it."""
PLACES = (
    "SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "PBS_CONF_FILE", "PBS_DEFAULT", "PBS_SERVER", "LSF_ENVDIR",
    "LSF_SERVERDIR",
)  # fmt: skip
"""Variables that choose a cluster: a job is asked for where it was submitted, whatever they say by then."""
KEPT = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT")
FOREIGN = (
    "SLURM_", "SLURMD_", "SQUEUE_", "SCANCEL_", "SINFO_", "SCONTROL_", "SBATCH_ARRAY", "SBATCH_WAIT", "SBATCH_CLUSTERS",
    "SBATCH_JOB_NAME", "SBATCH_REQUEUE", "PBS_JOB", "PBS_ARRAY", "LSB_JOB", "LSB_BATCH", "LSF_JOB",
)  # fmt: skip


def place_here(name: str) -> dict[str, str]:
    """Return the variables that say where jobs of the executor `name` go, and as PATH the folder of its programs."""
    found = {key: os.environ[key] for key in PLACES if os.environ.get(key)}
    program = shutil.which(SCHEDULERS[name].programs[1]) if name in SCHEDULERS else None
    return {**found, "PATH": str(Path(program).absolute().parent)} if program else found


def run(
    name: str,
    argv: Sequence[str],
    *,
    stdin: str = "",
    limit: float = LIMIT,
    extra: Mapping[str, str] | None = None,
    place: Mapping[str, str] | None = None,
) -> Answer:
    """Run a program of the scheduler behind the executor `name`; LauncherError if it cannot be run.

    Args:
        extra: variables to add.
        place: what `place_here` returned when the job was submitted that is asked about.
    """
    environ = {key: value for key, value in os.environ.items() if key in KEPT or not key.startswith(FOREIGN)}
    if place is not None:
        environ = {key: value for key, value in environ.items() if key not in PLACES}
        path = [place.get("PATH"), os.environ.get("PATH")]
        environ.update(place, PATH=os.pathsep.join(filter(None, path)))
    environ.update(extra or {})
    return tools.run([str(part) for part in argv], whose=SCHEDULERS[name].title, stdin=stdin, limit=limit, env=environ)
