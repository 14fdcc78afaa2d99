"""What a launcher was asked for: checked when it is made, held against the cluster when a job is submitted."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lazyllm.configs import config
from lazyllm.errors import InputError, LauncherError
from lazyllm.jobs import checks, runner
from lazyllm.jobs.record import Record

from . import options
from .cluster import TRUSTED, check_sizes, members, read_nodes
from .container import check_container, container_flags
from .parse import Node


@dataclass(frozen=True)
class Wishes:
    """A job's size and place. The fields are explained in `SlurmLauncher`."""

    partition: str | None
    nnode: int
    nproc: int
    ngpus: int | None
    timeout: float | None
    gpu_type: str | None
    cpus_per_task: int | None
    container: str | None
    requeue: bool
    exclusive: bool
    texts: Mapping[str, Any]
    options: Mapping[str, Any]

    def __post_init__(self) -> None:
        checks.whole("nnode", self.nnode, 1)
        checks.whole("nproc", self.nproc, 1)
        checks.whole("ngpus", self.ngpus, 0, none=True)
        checks.whole("cpus_per_task", self.cpus_per_task, 1, none=True)
        checks.seconds("timeout", self.timeout, "the partition's own limit")
        places = {"partition": self.partition, "gpu_type": self.gpu_type, "container": self.container}
        for name, value in {**self.texts, **places}.items():
            checks.text(name, value, "Slurm")
        checks.flag("exclusive", self.exclusive)
        checks.flag("requeue", self.requeue)
        object.__setattr__(self, "options", options.extra_options(self.options))

    @property
    def chosen(self) -> str | None:
        """The partition that was given, or that the configuration names."""
        setting = config.setting("partition")
        return self.partition or (str(setting.value) if setting.source != "default" and setting.value else None)

    def place(self) -> str:
        """Return the partition; an InputError that names the cluster's, if it can be asked, if none is chosen."""
        chosen = self.chosen
        if not chosen:
            try:
                every = read_nodes(TRUSTED, patience=0)
                names = ", ".join(sorted({node.partition for node in every if node.available == "up"}))
                known = f" This cluster has: {names or 'none that is up'}."
            except LauncherError:
                known = ""
            raise InputError(
                f"No Slurm partition is chosen.{known}",
                hint="Set LAZYLLM_SLURM_PART=NAME, or pass launchers.slurm(partition=NAME).",
            )
        return chosen

    def check(self, every: list[Node]) -> None:
        """Refuse what the cluster can never give. Of several partitions one has to give it all."""
        partition = self.place()
        members(every, partition)  # each of them is there, and takes jobs
        sizes = {"nnode": self.nnode, "nproc": self.nproc, "ngpus": self.ngpus or 0}
        cpus, kind, timeout = self.cpus_per_task or 1, self.gpu_type, self.timeout
        names, refused = partition.split(","), []
        for name in names:
            try:
                check_sizes(members(every, name), name, **sizes, cpus=cpus, gpu_type=kind, timeout=timeout)
            except InputError as error:
                refused.append(error)
        if len(refused) == len(names):
            raise refused[-1]
        if self.options:
            options.check_known(set(self.options))
        check_container(self.container)

    def fitting(self, every: list[Node], assumed: Collection[str]) -> Wishes:
        """Return these wishes without GPUs that nobody asked for, if the partition is known to have none."""
        mine = self._among(every)
        if "ngpus" in assumed and self.ngpus and mine and not any(node.total for node in mine):
            return replace(self, ngpus=None)
        return self

    def _among(self, every: list[Node]) -> list[Node]:
        names = self.place().split(",")
        return [node for node in every if node.partition in names]

    def sbatch(self, name: str, record: Record, partition: str, every: list[Node]) -> list[str]:
        """Return sbatch's options for the job of `record`; `every` node tells how long a job may run at most."""
        total = self.nnode * self.nproc
        found = ["-p", partition, "-N", str(self.nnode), "-n", str(total), f"--ntasks-per-node={self.nproc}"]
        further = dict(self.options)
        if self.timeout is not None:
            limits = {node.limit for node in self._among(every) if node.limit is not None}
            limit = options.minutes(self.timeout, float(record.data["grace"]), limits)
            found += ["-t", str(limit)]
            if signal := further.get("signal") or os.environ.get("SBATCH_SIGNAL"):
                further["signal"] = options.sooner(str(signal), limit * 60 - int(self.timeout))
        if self.ngpus:
            found.append(f"--gres=gpu:{self.gpu_type}:{self.ngpus}" if self.gpu_type else f"--gres=gpu:{self.ngpus}")
        found += [f"--job-name={name}", "--export=ALL", "--open-mode=append"]
        found.append(f"--output={options.output_file(str(record.log))}")
        marks = {"exclusive": self.exclusive, "requeue": self.requeue, "no_requeue": not self.requeue}
        found += options.flags({**self.texts, "cpus_per_task": self.cpus_per_task, **marks, **further})
        seen = [str(record.folder), str(Path(__file__).parent), str(Path(runner.__file__).parent), record.data["cwd"]]
        return [*found, *container_flags(self.container, seen)]
