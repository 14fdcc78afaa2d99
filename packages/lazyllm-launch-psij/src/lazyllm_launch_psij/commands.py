"""A scheduler's programs, in an environment that a job around us, or a user's display settings, do not bend."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from lazyllm.jobs import tools
from lazyllm.jobs.tools import Answer

from .schedulers import SCHEDULERS

LIMIT = 10.0
"""Seconds that a program may take, unless it submits: whoever lists or stops jobs waits for it."""
KEPT = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT")
FOREIGN = (
    "SLURM_", "SLURMD_", "SQUEUE_", "SCANCEL_", "SBATCH_ARRAY", "SBATCH_WAIT", "PBS_JOB", "PBS_ARRAY", "LSB_JOB",
    "LSB_BATCH", "LSF_JOB",
)  # fmt: skip


def run(
    name: str, argv: Sequence[str], *, stdin: str = "", limit: float = LIMIT, extra: Mapping[str, str] | None = None
) -> Answer:
    """Run a program of the scheduler behind the executor `name`; LauncherError if it cannot be run."""
    environ = {key: value for key, value in os.environ.items() if key in KEPT or not key.startswith(FOREIGN)}
    environ.update(extra or {})
    return tools.run([str(part) for part in argv], whose=SCHEDULERS[name].title, stdin=stdin, limit=limit, env=environ)
