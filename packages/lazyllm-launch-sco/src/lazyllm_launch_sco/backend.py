"""What the generations of SenseCore's tools have in common, and which of them this machine has."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lazyllm.errors import LauncherError
from lazyllm.jobs.record import Record
from lazyllm.jobs.tools import Answer, Asking, locate

from .commands import WHOSE, run
from .states import Seen
from .wishes import Wishes

OLDER = ("srun", "squeue", "scontrol", "scancel")
SLURMS = re.compile(r"--nodelist|slurm|_config_source|configuration source", re.IGNORECASE)
"""What Slurm's own `srun --help` says, where it finds no cluster too."""


@dataclass(frozen=True, slots=True)
class Order:
    """A job to be submitted. `script` is shell text made by us; `mark` are variables that mark its processes."""

    name: str
    script: str
    wishes: Wishes
    workspace: str
    partition: str
    record: Record
    mark: Mapping[str, str]

    @property
    def log(self) -> Path:
        """The file in the job's record that gets what SenseCore's tools say."""
        return log_of(self.record)


def log_of(record: Record) -> Path:
    """Return the file in a job's record that gets what SenseCore's tools say, and its containers print."""
    return record.folder / "scheduler.log"


class Backend(Protocol):
    """One generation of tools, for one workspace."""

    generation: str
    workspace: str
    one_query: bool
    """Whether `states` asks once for all jobs."""

    def check(self, wishes: Wishes) -> None:
        """Refuse what these tools cannot do (InputError, LauncherError)."""

    def submit_argv(self, order: Order) -> list[str]:
        """Return the command line that submits a job."""

    def submit(self, order: Order) -> str | None:
        """Submit a job; return its id if it is known at once. A LauncherError if it is refused."""

    def refusal(self, record: Record) -> LauncherError | None:
        """Return what was wrong with the submission, if that has turned out since."""

    def find(self, name: str, fresh: float = ...) -> str | None:
        """Return the id of the job `name`; empty if it is not listed (yet), None if that cannot be told.

        A list that is `fresh` seconds old will do.
        """

    def states(self, jobids: Iterable[str]) -> dict[str, Seen]:
        """Return what can be told now of these jobs."""

    def stop(self, jobid: str) -> Answer:
        """Ask for a job's end."""

    def accepted(self, answer: Answer) -> bool:
        """Say whether `answer` to `stop` means that it will be done."""

    def removal(self, jobid: str) -> list[str]:
        """Return the command line that removes SenseCore's entry of an ended job."""

    def output(self, jobid: str) -> str:
        """Return what the job's containers printed, as far as it can be had from these tools at once."""


def backend_of(generation: str, workspace: str) -> Backend:
    """Return the tools of a generation."""
    from .acp import Acp
    from .srun import Srun

    return Acp(workspace) if generation == "acp" else Srun(workspace, older=generation != "srun-new")


_detected: dict[tuple[str | None, str | None], str] = {}


def detect() -> str:
    """Return the generation of the tools on PATH: the `srun` ones where both are there.

    `srun --help` tells: SenseCore's own knows --workspace-id (Slurm's does not), and its older form knows -d.

    Raises:
        LauncherError: there is neither, or the only `srun` is Slurm's.
    """
    srun, sco = (shutil.which(name) for name in ("srun", "sco"))
    if (srun, sco) in _detected:
        return _detected[srun, sco]
    if srun is None:
        if sco is None:
            locate("srun or sco", WHOSE)
        return "acp"
    answer = Asking(run)(("srun", "--help"), limit=10)
    told = answer.out + answer.err if answer else ""
    if "--workspace-id" not in told:
        if sco is None and SLURMS.search(told):
            raise LauncherError(
                f"The srun on PATH is Slurm's, not SenseCore's: {srun}.",
                hint="Put the folder of SenseCore's tools first on PATH, or use launchers.slurm.",
            )
        found = "acp" if sco else "srun"
    else:
        found = "srun" if "AllReduce" in told or "-d," in told or " -d " in told else "srun-new"
    if answer:
        _detected[srun, sco] = found
    return found
