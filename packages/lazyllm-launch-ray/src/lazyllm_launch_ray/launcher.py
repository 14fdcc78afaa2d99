"""launchers.ray: jobs on a Ray cluster, submitted through its Jobs API and watched by one query for all of them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lazyllm.common.log import LOG
from lazyllm.errors import InputError, LauncherError
from lazyllm.jobs import checks
from lazyllm.jobs.job import Job
from lazyllm.jobs.launcher import LazyLLMLaunchersBase
from lazyllm.jobs.polling import last_known
from lazyllm.jobs.record import Record
from lazyllm.jobs.status import Status, state_of
from lazyllm.jobs.sweep import here, signal_runner
from lazyllm.jobs.view import JobView

from . import address as places
from . import cluster, note
from .api import Api, api, last_words
from .carried import carried
from .judge import judge
from .poller import poller, session_of
from .states import STATES
from .submit import describe, stop, submit
from .wishes import Wishes

NODE = str(Path(__file__).with_name("node.py"))


class RayLauncher(LazyLLMLaunchersBase):
    """Runs jobs on a Ray cluster. They live on if this process ends.

    Args:
        address: the dashboard's URL, HOST:PORT or HOST; by default `config["ray_address"]`, RAY_API_SERVER_ADDRESS,
            RAY_ADDRESS or http://127.0.0.1:8265, the first that is set.
        ngpus: GPUs that the job gets, or a part of one; None or 0 for none.
        ncpus: CPUs that it gets; without any wish Ray runs a job on the head node.
        memory: bytes of memory set aside for it, or text such as "32GiB"; Ray counts, but does not enforce it.
        resources: amounts of the cluster's own resources, such as {"a100": 1}.
        timeout: seconds that it may run; waiting in the queue does not count.
        queue_timeout: seconds that it may wait for resources. Ray itself gives up after 900 s.
        sync: `launch` waits for the job's end, or returns once it is submitted.
        nnode, nproc: 1; Ray runs a job as one process on one node.
        python: the Python >= 3.8 that runs a job's supervisor on the node, by default this one.
    """

    host = None

    def __init__(
        self,
        address: str | None = None,
        ngpus: float | None = None,
        ncpus: float | None = None,
        memory: int | str | None = None,
        resources: Mapping[str, float] | None = None,
        timeout: float | None = None,
        queue_timeout: float | None = None,
        *,
        sync: bool = True,
        nnode: int = 1,
        nproc: int = 1,
        python: str | None = None,
    ) -> None:
        super().__init__(sync=sync)
        for name, value in {"nnode": nnode, "nproc": nproc}.items():
            if value != 1 or isinstance(value, bool):
                raise InputError(
                    f"{name}={value!r}: Ray runs a job as one process on one node.",
                    hint="Let that process start others (torchrun, ray.init()), or use launchers.slurm.",
                )
        checks.python(python)
        self.wishes = Wishes(ngpus, ncpus, memory, resources or {}, timeout, queue_timeout)
        self.timeout = timeout
        self.python = python or sys.executable
        if address is not None:
            places.url_of(address, "address")
        self.address = address

    ngpus = property(lambda self: self.wishes.ngpus)
    ncpus = property(lambda self: self.wishes.ncpus)
    queue_timeout = property(lambda self: self.wishes.queue_timeout)

    def environment(self) -> dict[str, str]:
        """Refuse, before a record is made, what the cluster can never give; return what the job is to find as here."""
        there = self._api()
        cluster.check(there, self._needs(there))
        return carried(os.environ)

    def submit(self, job: Job) -> str:
        record, there = job.demand_record(), self._api()
        note.write(record, there.shown, there.shown == there.url, self.wishes.queue_timeout, session_of(there))
        record.submitted(record.id)  # so it is found even if this process ends now
        submit(there, self._order(job, self._needs(there)))
        return record.id

    def submission(self, job: Job) -> str:
        there, needs = self._api(), self.wishes.needs()
        with suppress(LauncherError):  # a cluster that is away is nothing to show a job by
            needs = self._needs(there)
        return f"POST {there.shown}/api/jobs/\n{json.dumps(self._order(job, needs), indent=2, ensure_ascii=False)}"

    def _order(self, job: Job, needs: Mapping[str, float]) -> dict[str, Any]:
        record = job.demand_record()
        *python, run, folder = job.runner_argv()
        argv, variables = (*python, NODE, run, folder), job.runner_environment()
        return describe(job.name, record.id, str(record.folder), argv, needs, float(record.data["grace"]), variables)

    def query(self, job: JobView) -> Status | None:
        job.waiting_for = ""
        if job.record is None or not job.record.jobid:
            return None
        if here(told := job.record.status()):
            return state_of(told)  # Ray, which may hang, knows nothing better of a runner on this machine
        there = self._api(job.record)
        seen = poller(there.url).seen(job.record.id)
        state = last_known(job.record, judge(job.record, there, seen) if seen else None)
        if seen and state is Status.InQueue:
            job.waiting_for = last_words(seen.message)
        return state

    def cancel(self, job: Job, force: bool = False) -> None:
        record = job.demand_record()
        told, there = record.status(), self._api(record)
        if state_of(told) is Status.Running and (signal_runner(told, force) or not force):
            return  # elsewhere its runner reads of it in the folder
        stop(there, record.id)
        poller(there.url).hurry()

    def leftovers(self, jobs: Sequence[JobView]) -> dict[str, bool]:
        told: dict[str, bool] = {}
        for record in (job.demand_record() for job in jobs):
            there = self._api(record)
            if seen := poller(there.url).seen(record.id):
                held = STATES.get(seen.word, Status.Done).ended is False
                if held:
                    stop(there, record.id)
                told[record.id] = held
        return told

    def watch(self, job: Job, seconds: float) -> bool:
        record = job.demand_record()
        return poller(self._api(record).url).watch(job, record.id, seconds)

    def release(self, job: Job) -> None:
        if job.record:
            poller(self._api(job.record).url).leave(job.record.id)

    def _api(self, record: Record | None = None) -> Api:
        """Return the way to the cluster: for a job that was submitted, to the one that has it."""
        kept = note.read(record) if record else {}
        known, whole = kept.get("address"), kept.get("whole")
        if isinstance(known, str) and whole:
            return api(known)
        url = places.find_url(self.address)
        return api(url if known in (None, places.shown(url)) else str(known))

    def _needs(self, there: Api) -> dict[str, float]:
        """Return what the job needs; GPUs that nobody asked for are none where there are none."""
        needs = self.wishes.needs()
        if "ngpus" in self.assumed and "GPU" in needs and not cluster.has_gpus(there):
            LOG.info("Ray at %s has no GPUs, so ngpus is ignored.", there.shown)
            del needs["GPU"]
        return needs
