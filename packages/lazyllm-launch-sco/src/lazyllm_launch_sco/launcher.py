"""launchers.sco: jobs on SenseCore, submitted and watched through its own command line tools."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lazyllm.common.log import LOG
from lazyllm.configs import config
from lazyllm.errors import JobError, LauncherError
from lazyllm.jobs import checks
from lazyllm.jobs.job import Job
from lazyllm.jobs.launcher import LazyLLMLaunchersBase
from lazyllm.jobs.polling import last_known
from lazyllm.jobs.status import Status
from lazyllm.jobs.sweep import runner_alive
from lazyllm.jobs.view import JobView

from .backend import Backend, Order, backend_of, detect, log_of
from .carried import variables, with_secrets
from .judge import judge
from .owed import settle
from .parse import address_in
from .poller import ScoPoller, poller
from .stop import remove, stop, withdraw
from .ticket import PREFIX, Ticket, script, search_path, ticket_of, tools_here
from .torchrun import spread, spread_steps
from .wishes import Wishes, mounts

TRIES, PAUSE = 5, 2.0
"""How often the id of a submitted job is looked for, and the seconds between two times."""
LOOK = 0.05


class ScoJob(Job):
    """A job on SenseCore. Its address is in its record, or, where that is late, in what its container printed."""

    def get_jobip(self) -> str:
        try:
            return super().get_jobip()
        except JobError:
            found = printed_address(self) if self.record else None
            if found is None:
                raise
            return found


class ScoLauncher(LazyLLMLaunchersBase):
    """Runs jobs on SenseCore. They live on if this process ends.

    Args:
        partition: by default `config["partition"]`, that is the variable LAZYLLM_SLURM_PART; the newest tool calls it
            the AEC2 cluster.
        workspace_name: by default `config["sco.workspace"]`, that is the variable LAZYLLM_SCO_WORKSPACE.
        framework: what SenseCore prepares the containers for: "pt" (PyTorch), or another of its names.
        nnode: nodes of a job. Each step runs on all of them, with RANK, WORLD_SIZE (nodes), MASTER_ADDR, MASTER_PORT.
        nproc: processes that torchrun starts on each node.
        ngpus: GPUs on each node, 1 or more.
        torchrun: start each step by torch.distributed.run.
        sync: `launch` waits for the job's end, or returns once it is submitted.
        timeout: seconds that a job may run, fractions included; waiting in the queue does not count.
        python: the Python >= 3.8 that runs a job's supervisor on the node, by default this one.
        generation: of SenseCore's tools: "srun" (older), "srun-new", "acp" (newest), or "auto", what is on PATH.
        priority: as SenseCore has it.
        resource_type: kind of node, by default `config["sco_resource_type"]`.
        worker_spec: kind and size in SenseCore's words, instead of resource_type and ngpus.
        container_image, storage_mounts, quota_type: as `sco acp jobs create` has them; an image is needed there.
            Mounts are {volume id: path}, or "ID:/PATH".
    """

    host = None

    def __init__(
        self,
        partition: str | None = None,
        workspace_name: str | None = None,
        framework: str = "pt",
        nnode: int = 1,
        nproc: int = 1,
        ngpus: int | None = 1,
        torchrun: bool = False,
        sync: bool = True,
        *,
        timeout: float | None = None,
        python: str | None = None,
        generation: str = "auto",
        priority: str = "normal",
        resource_type: str | None = None,
        worker_spec: str | None = None,
        container_image: str | None = None,
        storage_mounts: Mapping[str, str] | str | Iterable[str] | None = None,
        quota_type: str | None = None,
    ) -> None:
        super().__init__(sync=sync)
        checks.python(python)
        self.wishes = Wishes(
            partition=partition,
            workspace=workspace_name,
            framework=framework,
            nnode=nnode,
            nproc=nproc,
            ngpus=1 if ngpus is None else ngpus,
            torchrun=torchrun,
            timeout=timeout,
            generation=generation,
            priority=priority,
            resource_type=resource_type,
            worker_spec=worker_spec,
            container_image=container_image,
            storage_mounts=mounts(storage_mounts),
            quota_type=quota_type,
        )
        if nproc > 1 and not torchrun:
            LOG.warning("nproc=%d is for torchrun=True; without it, a step is one process on each node.", nproc)
        self.python = python or sys.executable
        self.timeout = timeout

    partition = property(lambda self: self.wishes.chosen()[1])
    workspace_name = property(lambda self: self.wishes.chosen()[0])
    framework = property(lambda self: self.wishes.framework)
    nnode = property(lambda self: self.wishes.nnode)
    nproc = property(lambda self: self.wishes.nproc)
    ngpus = property(lambda self: self.wishes.ngpus)
    torchrun = property(lambda self: self.wishes.torchrun)

    def _backend(self) -> Backend:
        chosen = self.wishes.generation
        return backend_of(detect() if chosen == "auto" else chosen, self.wishes.place()[0])

    def environment(self) -> dict[str, str]:
        """Refuse, before a record is made, what cannot be submitted; return this process's LAZYLLM_ variables."""
        self._backend().check(self.wishes)
        return variables()

    def makejob(self, cmd: Any, *, name: str | None = None, detach: bool = False) -> Job:
        wishes = self.wishes
        wishes.place()
        job = super().makejob(cmd, name=name, detach=detach)
        if job.command is None:
            return job
        command = spread(
            with_secrets(job.command),
            nnode=wishes.nnode,
            nproc=wishes.nproc,
            torchrun=wishes.torchrun,
            python=self.python,
        )
        return ScoJob(command, self, name=job.name, detach=detach)

    def submit(self, job: Job) -> str:
        record, backend = job.demand_record(), self._backend()
        workspace, _ = self.wishes.place()
        steps = spread_steps(job.command) if job.command else 0
        nodes, env = self.wishes.nnode, str(config["sco_env_name"] or "")
        paths = search_path(record.data["cwd"])
        tools = tools_here(backend.generation)
        Ticket(backend.generation, workspace, paths, steps, nodes=nodes, env=env, tools=tools).write(record)
        order = self._order(job, backend)
        record.submitted(order.name)  # until its id is known; so it is found even if this process ends now
        try:
            return backend.submit(order) or _await_id(backend, order)
        except BaseException as error:
            record.ask_to_end()  # should it have got through even so, it starts nothing
            if not isinstance(error, LauncherError):
                withdraw(order.name, backend)
            raise

    def submission(self, job: Job) -> str:
        backend = self._backend()
        return shlex.join(backend.submit_argv(self._order(job, backend)))

    def _order(self, job: Job, backend: Backend) -> Order:
        record, (workspace, partition) = job.demand_record(), self.wishes.place()
        line = script(job.runner_argv(), under_bash=backend.generation == "srun")
        return Order(PREFIX + record.id, line, self.wishes, workspace, partition, record, job.runner_environment())

    def query(self, job: JobView) -> Status | None:
        record = job.record
        jobid = str(record.jobid or "") if record else ""
        ticket = ticket_of(record) if record else None
        if record is None or ticket is None or not jobid:
            return None
        if _lives_here(record.status()) and not jobid.startswith(PREFIX):
            return record.state  # SenseCore, which may hang, knows nothing better of a runner on this machine
        asking = poller(ticket.generation, ticket.workspace)
        seen = asking.seen(jobid)
        if seen and seen.number and seen.number != jobid:
            record.submitted(seen.number)
        elif jobid.startswith(PREFIX) and not record.status() and not record.stopping:
            refused = asking.backend.refusal(record)
            if refused:
                record.finish(Status.Failed, f"not started: {refused.message}")
                record.ask_to_end()  # should it be there even so, it starts nothing
                return Status.Failed
        told = judge(record, seen.number or jobid, seen, asking.backend) if seen and seen.word else None
        return last_known(record, told)

    def expect(self, jobs: Sequence[JobView]) -> None:
        asked: dict[ScoPoller, list[str]] = {}
        for job in jobs:
            if asking := _asking(job):
                asked.setdefault(asking, []).append(str(job.demand_record().jobid))
        for asking, jobids in asked.items():
            asking.expect(jobids)

    def cancel(self, job: Job, force: bool = False) -> None:
        asking = _asking(job)
        if asking is None:
            raise LauncherError(f"The record of job {job.id} does not say where on SenseCore it is.")
        record = job.demand_record()
        stop(record, str(record.jobid), asking.backend, force)
        asking.hurry()

    def watch(self, job: Job, seconds: float) -> bool:
        record, asking = job.demand_record(), _asking(job)
        if asking is None:
            return super().watch(job, seconds)
        jobid = str(record.jobid)
        if not jobid.startswith(PREFIX):
            asking.leave(PREFIX + record.id)
        return asking.watch(job, jobid, seconds)

    def release(self, job: Job) -> None:
        record, asking = job.record, _asking(job) if job.record else None
        if record is not None and asking is not None:
            asking.leave(str(record.jobid))
            asking.leave(PREFIX + record.id)
            remove(record, str(record.jobid), asking.backend)
            if record.status().get("unconfirmed"):
                asking.owe(record)

    def leftovers(self, jobs: Sequence[JobView]) -> dict[str, bool]:
        found = {job.demand_record().id: job for job in jobs}
        told = {
            key: settle(job.demand_record(), asking.backend) for key, job in found.items() if (asking := _asking(job))
        }
        return {key: held for key, held in told.items() if held is not None}


def _lives_here(told: Mapping[str, Any]) -> bool:
    """Say whether a runner is known to live on this machine; if none is found, it may be in a container."""
    return told.get("machine") == os.uname().nodename and runner_alive(dict(told))


def _await_id(backend: Backend, order: Order) -> str:
    """Return the id of a job that was just submitted, or its name if it is listed too late."""
    record = order.record
    for n in range(TRIES):
        begun = bool(record.status())
        if found := backend.find(order.name, fresh=0.0):
            return found
        if begun:
            break
        if n == 1:
            LOG.info("SenseCore does not list job %s yet; it is looked for for up to %g s.", order.name, TRIES * PAUSE)
        end = time.monotonic() + PAUSE
        while time.monotonic() < end and not record.status():
            refused = backend.refusal(record)
            if refused and not record.status():
                if found := backend.find(order.name, fresh=0.0):
                    return found  # it is the job that failed
                raise refused
            time.sleep(LOOK)
    else:
        LOG.warning("Job %s is not listed by SenseCore yet; its id will be looked for again.", order.name)
    return order.name


def printed_address(job: JobView) -> str | None:
    """Return the address that the job's container printed; None if it has not, or cannot be heard."""
    record = job.demand_record()
    log = log_of(record)
    found = address_in(log.read_text("utf-8", "replace")) if log.exists() else None
    asking = _asking(job)
    if found is None and asking is not None:
        found = address_in(asking.backend.output(str(record.jobid)))
    return found


def _asking(job: JobView) -> ScoPoller | None:
    ticket = ticket_of(job.demand_record())
    return poller(ticket.generation, ticket.workspace) if ticket else None
