"""Runs Slurm's own programs: never through a shell, never without a limit."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lazyllm.errors import LauncherError

PING_LIMIT = 2.0
"""Seconds for a sign of life from the controller, which takes milliseconds if it lives."""
KEPT = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT")
REFORMING = ("SQUEUE_", "SINFO_", "SCONTROL_", "SACCT_", "SCANCEL_")
"""Variables of a user's that change what a query asks for or how it answers."""
SURPRISING = ("SBATCH_ARRAY_INX", "SBATCH_WAIT", "SBATCH_IGNORE_PBS")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program said. `code` is None if it did not end in time."""

    code: int | None
    out: str
    err: str

    @property
    def ok(self) -> bool:
        return self.code == 0

    @property
    def words(self) -> str:
        """What it complained of, in one line."""
        lines = (line.strip() for line in (self.err.strip() or self.out.strip()).splitlines())
        return "; ".join(line for line in lines if line) or f"exit code {self.code}"


def run(argv: Sequence[str], *, stdin: str = "", limit: float = 10.0, env: Mapping[str, str] | None = None) -> Answer:
    """Run a program of Slurm's and return its answer; None as its code if `limit` seconds were not enough.

    Raises:
        LauncherError: it is not on PATH.
    """
    environ = clean(os.environ if env is None else env)
    program = shutil.which(argv[0], path=environ.get("PATH"))
    if program is None:
        raise LauncherError(
            f"Slurm's {argv[0]!r} is not on PATH, so this machine cannot submit or watch jobs.",
            hint="Run on a login node of the cluster, put Slurm's bin folder on PATH, or use launchers.empty.",
        )
    try:
        done = subprocess.run(
            [program, *argv[1:]],
            input=stdin.encode("utf-8", "surrogateescape"),
            capture_output=True,
            timeout=limit,
            env=environ,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(None, "", f"no answer within {limit:g} s")
    except OSError as error:
        raise LauncherError(f"{program} cannot be run: {error}.", hint="ulimit -u shows your limit.") from None
    return Answer(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))


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
