"""The schedulers that can be used, and how each is asked for a job's size."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from lazyllm.errors import InputError, near

PLAIN = re.compile(r"[\w@%+=:,./-]+", re.ASCII)
"""What psij-python's templates carry unchanged."""
KEYWORDS = "queue", "account", "timeout", "ncpus", "ngpus"


@dataclass(frozen=True)
class Scheduler:
    """One scheduler, as psij-python's executor `name` drives it.

    `prefix` is psij's for options. `programs` must be on PATH. `ours` are options that a user cannot give, with the
    keyword that stands for them ("" if none does). `longest` is the length of a job's name. `once` is the line of the
    script that keeps the scheduler from beginning a job anew: its record has ended with the first run.
    """

    name: str
    title: str
    prefix: str
    programs: tuple[str, ...]
    name_option: str
    account_option: str
    queues: str
    ours: Mapping[str, str] = field(default_factory=dict)
    longest: int = 64
    seconds: bool = True
    once: str = ""

    def request(self, ncpus: int | None, ngpus: int) -> list[tuple[str, str]]:
        """Return the options that ask for one process on one node with so many CPUs and GPUs."""
        if self.name == "slurm":
            found = [("nodes", "1"), ("ntasks", "1")]
            found += [("cpus-per-task", str(ncpus))] if ncpus else []
            return found + ([("gres", f"gpu:{ngpus}")] if ngpus else [])
        if self.name == "lsf":
            found = [("n", str(ncpus)), ("R", "span[hosts=1]")] if ncpus else []
            return found + ([("gpu", f"num={ngpus}")] if ngpus else [])
        if not (ncpus or ngpus):
            return []
        if self.name == "pbs":
            return [("l", f"select=1:ncpus={ncpus or 1}" + (f":ngpus={ngpus}" if ngpus else ""))]
        return [("l", f"nodes=1:ppn={ncpus or 1}" + (f":gpus={ngpus}" if ngpus else ""))]

    def duration(self, seconds: float) -> str:
        """Return a limit of at least `seconds` as the scheduler spells it: whole minutes."""
        minutes = int(-(-seconds // 60))
        return f"{minutes // 60}:{minutes % 60:02}" + (":00" if self.seconds else "")


_PBS = {
    "N": "", "o": "", "e": "", "j": "", "k": "", "J": "", "t": "", "I": "", "X": "", "V": "", "v": "", "S": "",
    "C": "", "r": "", "q": "queue", "A": "account",
}  # fmt: skip
_LSF = {
    "J": "", "o": "", "oo": "", "e": "", "eo": "", "i": "", "is": "", "I": "", "Ip": "", "Is": "", "K": "", "B": "",
    "env": "", "cwd": "", "L": "", "Zs": "", "q": "queue", "P": "account", "W": "timeout", "n": "ncpus", "gpu": "ngpus",
}  # fmt: skip
_SLURM = {
    **dict.fromkeys(
        ("job-name", "J", "output", "o", "error", "e", "input", "i", "chdir", "D", "array", "a", "export", "wait", "W",
         "wrap", "parsable", "nodes", "N", "ntasks", "n", "clusters", "M", "test-only", "requeue", "no-requeue"), "",
    ),
    "partition": "queue", "p": "queue", "account": "account", "A": "account", "time": "timeout", "t": "timeout",
    "cpus-per-task": "ncpus", "c": "ncpus", "gres": "ngpus", "gpus": "ngpus", "G": "ngpus",
}  # fmt: skip

_PBS_PROGRAMS = ("qsub", "qstat", "qdel")
_SLURM_PROGRAMS = ("sbatch", "squeue", "scancel")
_PBS_ONCE, _ONCE = "#PBS -r n", "#SBATCH --no-requeue"

SCHEDULERS = {
    scheduler.name: scheduler
    for scheduler in (
        Scheduler("pbs", "PBS", "pbs", _PBS_PROGRAMS, "N", "A", "qstat -Q", _PBS, longest=15, once=_PBS_ONCE),
        Scheduler("pbs_classic", "PBS", "pbs", _PBS_PROGRAMS, "N", "A", "qstat -Q", _PBS, longest=15, once=_PBS_ONCE),
        Scheduler("lsf", "LSF", "lsf", ("bsub", "bjobs", "bkill"), "J", "P", "bqueues", _LSF, seconds=False),
        Scheduler("slurm", "Slurm", "slurm", _SLURM_PROGRAMS, "job-name", "account", "sinfo -s", _SLURM, once=_ONCE),
    )
}
LOCAL = "local"

REFUSED = {
    "flux": "psij-python's way to Flux keeps the program that submits alive until all its jobs have ended, and gives a "
    "job no queue, account or name.",
    "cobalt": "Cobalt is out of use, and was never tried.",
    "rp": "RADICAL-Pilot is a pilot of its own, which no other process can ask about a job.",
}


def check_name(name: str) -> str:
    """Return the name of a known executor; an InputError that says which there are if it is none."""
    known = [*SCHEDULERS, LOCAL]
    if name in REFUSED:
        raise InputError(f"launchers.psij does not use the executor {name!r}. {REFUSED[name]}", hint=_all(known))
    if name not in known:
        nearest = near(name, known)
        raise InputError(f"There is no executor {name!r}. {nearest}", hint=None if "Known" in nearest else _all(known))
    return name


def _all(known: list[str]) -> str:
    return f"Known executors: {', '.join(known)}."
