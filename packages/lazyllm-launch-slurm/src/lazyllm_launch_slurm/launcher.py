"""launchers.slurm: jobs on a Slurm cluster, submitted by sbatch and watched by one query for all of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lazyllm.common.log import LOG
from lazyllm.errors import LauncherError
from lazyllm.jobs import checks, runner
from lazyllm.jobs.job import Job
from lazyllm.jobs.launcher import LazyLLMLaunchersBase
from lazyllm.jobs.status import Status
from lazyllm.jobs.view import JobView

from .cluster import TRUSTED, free_gpus, members, read_nodes, wait_for_controller
from .commands import ask, scancel
from .judge import judge
from .parse import Node
from .place import NOTE, Place, place_of
from .poller import poller
from .states import waits
from .stop import leftovers, stop
from .submit import name_of, script, shown, submit
from .tasks import spread
from .wishes import Wishes

NODE = str(Path(__file__).with_name("node.py"))


class SlurmLauncher(LazyLLMLaunchersBase):
    """Runs jobs on a Slurm cluster. They live on if this process ends.

    Args:
        partition: by default `config["partition"]`, that is the variable LAZYLLM_SLURM_PART.
        nnode: nodes of a job.
        nproc: processes on each node; if there are several in all, each gets torchrun's variables.
        ngpus: GPUs on each node; None or 0 for none.
        timeout: seconds that a job may run, fractions included; waiting in the queue does not count.
        sync: `launch` waits for the job's end, or returns once it is submitted.
        num_can_use_nodes: at most so many nodes are named by `get_idle_nodes`.
        account, qos, constraint, reservation, nodelist, exclude, mem: as sbatch has them.
        cpus_per_task: CPUs of each process.
        gpu_type: type of the GPUs, as the cluster calls it.
        exclusive: share the nodes with no other job.
        container: an image (where the pyxis plugin is installed) or the folder of an OCI bundle.
        requeue: let the job begin again if its node fails, it is preempted or requeued.
        python: the Python >= 3.8 that runs a job's supervisor on the node, by default this one.
        options: further long options of sbatch's, such as {"nice": 100, "hold": True}.
    """

    host = None

    def __init__(
        self,
        partition: str | None = None,
        nnode: int = 1,
        nproc: int = 1,
        ngpus: int | None = None,
        timeout: float | None = None,
        *,
        sync: bool = True,
        num_can_use_nodes: int = 5,
        account: str | None = None,
        qos: str | None = None,
        constraint: str | None = None,
        reservation: str | None = None,
        nodelist: str | None = None,
        exclude: str | None = None,
        mem: str | int | None = None,
        cpus_per_task: int | None = None,
        gpu_type: str | None = None,
        exclusive: bool = False,
        container: str | None = None,
        requeue: bool = True,
        python: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(sync=sync)
        checks.whole("num_can_use_nodes", num_can_use_nodes, 1)
        checks.python(python)
        texts = {
            "account": account, "qos": qos, "constraint": constraint, "reservation": reservation,
            "nodelist": nodelist, "exclude": exclude, "mem": str(mem) if type(mem) is int else mem,
        }  # fmt: skip
        self.wishes = Wishes(
            partition, nnode, nproc, ngpus, timeout, gpu_type, cpus_per_task, container, requeue, exclusive, texts,
            options or {},
        )  # fmt: skip
        self.num_can_use_nodes = num_can_use_nodes
        self.python = python or sys.executable
        self.timeout = timeout

    partition = property(lambda self: self.wishes.chosen)
    nnode = property(lambda self: self.wishes.nnode)
    nproc = property(lambda self: self.wishes.nproc)
    ngpus = property(lambda self: self.wishes.ngpus)

    def get_idle_nodes(self, partion: str | None = None, partition: str | None = None) -> dict[str, int]:
        """Return {node: free GPUs} of the nodes that could start a job now, at most `num_can_use_nodes`.

        Args:
            partion: the historic spelling of `partition`.
            partition: by default the launcher's own.
        """
        place = partition or partion
        checks.text("partition", place, "Slurm")
        mine = members(read_nodes(), place or self.wishes.place())
        return dict(list(free_gpus(mine).items())[: self.num_can_use_nodes])

    def environment(self) -> dict[str, str]:
        """Refuse, before a record is made, what the cluster can never give; the job gets no variables from here."""
        every = read_nodes(TRUSTED)
        self._fitting(every).check(every)
        return {}

    def makejob(self, cmd: Any, *, name: str | None = None, detach: bool = False) -> Job:
        job = super().makejob(cmd, name=name, detach=detach)
        wishes = self.wishes
        wishes.place()
        if job.command:
            job.command = spread(job.command, wishes.nnode, wishes.nproc, python=self.python, cpus=wishes.cpus_per_task)
        return job

    def submit(self, job: Job) -> str:
        record = job.demand_record()
        every = read_nodes(TRUSTED)
        mine = members(every, self.wishes.place())
        addresses = {node.name: node.address for node in mine if node.address not in ("", node.name)}
        here = Place.here()
        place = {"conf": here.conf, "clusters": here.clusters, "cluster": here.identity()}
        path = str(record.folder / NOTE)
        runner.write_json(path, {"addresses": addresses, **place})
        name = name_of(job.name, record.id)
        record.submitted(name)  # until its number is known; so it is found even if this process ends now
        environ = {**os.environ, **job.runner_environment()}
        try:
            number, cluster = submit(*self._order(job, self.wishes.fitting(every, self.assumed), every), environ)
        except BaseException:
            ask(scancel(name, name=name), env=here.environ())  # sbatch may have got through even so
            raise
        if cluster:  # of several that were named, this one took it
            place = {**place, "clusters": cluster, "cluster": Place(here.conf, cluster).identity()}
            runner.write_json(path, {"addresses": addresses, **place})
        return number

    def submission(self, job: Job) -> str:
        try:
            every = read_nodes(TRUSTED, patience=0)
        except LauncherError:
            every = []  # shown it is even so
        return shown(*self._order(job, self._fitting(every), every))

    def _fitting(self, every: list[Node]) -> Wishes:
        """Return the wishes that are a job's here, and say so if they are less than was assumed."""
        wishes = self.wishes.fitting(every, self.assumed)
        if wishes is not self.wishes:
            LOG.info("No node of the Slurm partition %r has GPUs, so ngpus is ignored.", wishes.place())
        return wishes

    def _order(self, job: Job, wishes: Wishes, every: list[Node]) -> tuple[list[str], str]:
        """Return sbatch's options for a job, and the script that it reads."""
        record = job.demand_record()
        options = wishes.sbatch(name_of(job.name, record.id), record, wishes.place(), every)
        return options, script((self.python, "-I", "-S", NODE, runner.__file__, str(record.folder)))

    def expect(self, jobs: Sequence[JobView]) -> None:
        by_place: dict[Place, list[str]] = {}
        for job in jobs:
            if job.record and job.record.jobid:
                by_place.setdefault(place_of(job.record), []).append(str(job.record.jobid))
        for place, jobids in by_place.items():
            poller(place).expect(jobids)

    def query(self, job: JobView) -> Status | None:
        if job.record is None or not (jobid := str(job.record.jobid or "")):
            return None
        seen = poller(place_of(job.record)).seen(jobid)
        if seen and seen.number and not jobid.isdecimal():
            job.record.submitted(seen.number)
        state = judge(job.record, jobid, seen) if seen else None
        job.waiting_for = waits(seen.reason) if seen and state is Status.InQueue else ""
        if state is None and jobid.isdecimal() and not job.record.status():
            return Status.InQueue  # accepted it was, and no runner has said anything yet
        return state

    def cancel(self, job: Job, force: bool = False) -> None:
        record = job.demand_record()
        jobid = str(record.jobid or "")
        place = place_of(record)
        wait_for_controller(patience=3, env=place.environ())
        stop(record, jobid, force)
        poller(place).hurry()

    def leftovers(self, jobs: Sequence[JobView]) -> dict[str, bool]:
        self.expect(jobs)
        told = {record.id: leftovers(record, str(record.jobid or "")) for job in jobs if (record := job.record)}
        return {key: held for key, held in told.items() if held is not None}

    def watch(self, job: Job, seconds: float) -> bool:
        record = job.demand_record()
        return poller(place_of(record)).watch(job, str(record.jobid), seconds)

    def release(self, job: Job) -> None:
        if job.record:
            poller(place_of(job.record)).leave(str(job.record.jobid))
