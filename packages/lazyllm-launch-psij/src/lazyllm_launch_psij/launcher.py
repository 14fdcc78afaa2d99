"""launchers.psij: jobs under PBS, LSF or Slurm. psij-python knows how to speak to each; the runner does the rest."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from lazyllm.errors import InputError, LauncherError
from lazyllm.jobs.job import Job
from lazyllm.jobs.launcher import LazyLLMLaunchersBase
from lazyllm.jobs.polling import last_known
from lazyllm.jobs.record import Record
from lazyllm.jobs.status import Status, state_of
from lazyllm.jobs.sweep import here, signal_runner
from lazyllm.jobs.view import JobView

from .judge import judge, judge_local
from .poller import poller
from .schedulers import LOCAL, SCHEDULERS
from .unsent import NOTE, SUBMITTING, begin, close, given_up, jobid_of, judge_unsent, noted
from .wishes import Wishes

MARGIN = 60.0
"""Seconds that the scheduler gives a job beyond its timeout, so that it is the runner that ends it."""


class PsijLauncher(LazyLLMLaunchersBase):
    """Runs jobs under PBS, LSF or Slurm, one process on one node each. They live on if this process ends.

    Args:
        executor: "pbs" (PBS Pro, OpenPBS), "pbs_classic" (the same, asked by `nodes=` and `ppn=`), "lsf", "slurm", or
            "local" (processes of this machine, to try things out); by default `config["psij.executor"]`, that is the
            variable LAZYLLM_PSIJ_EXECUTOR.
        queue: the queue, or partition; by default `config["psij.queue"]`, or else the scheduler's default.
        nnode: always 1.
        ncpus: CPUs of a job; None for the scheduler's default, which is often one.
        ngpus: GPUs of a job; None or 0 for none.
        timeout: seconds that a job may run; waiting in the queue does not count.
        account: the account, or project, that pays.
        options: further options of the scheduler's, such as {"qos": "high"} on Slurm or {"l": ["mem=8gb"]} on PBS.
        sync: `launch` waits for the job's end, or returns once it is submitted.
        python: the Python >= 3.8 that runs a job's supervisor on the node, by default this one.
    """

    host = None

    def __init__(
        self,
        executor: str | None = None,
        queue: str | None = None,
        nnode: int = 1,
        ncpus: int | None = None,
        ngpus: int | None = None,
        timeout: float | None = None,
        *,
        account: str | None = None,
        options: Mapping[str, Any] | None = None,
        sync: bool = True,
        python: str | None = None,
    ) -> None:
        super().__init__(sync=sync)
        if python is not None and not (isinstance(python, str) and python.strip()):
            raise InputError(f"python={python!r}: expected the path of a Python on the node, or None.")
        self.wishes = Wishes(executor, queue, nnode, ncpus, ngpus, timeout, account, options or {})
        self.timeout = timeout
        self.python = python or sys.executable

    executor = property(lambda self: self.wishes.executor)
    queue = property(lambda self: self.wishes.queue)
    nnode = property(lambda self: self.wishes.nnode)
    ngpus = property(lambda self: self.wishes.ngpus)

    def environment(self) -> dict[str, str]:
        """Refuse, before a record is made, what cannot be submitted here; the job gets no variables from here."""
        self.host = "127.0.0.1" if self.wishes.ready() == LOCAL else None
        return {}

    def submit(self, job: Job) -> str:
        record, name = _record(job), self.wishes.place()
        begin(record, name)
        if name == LOCAL:
            from .local import start

            return start(job)
        from .submit import submit

        text = self._script(job, name)
        try:
            return submit(name, text, job.runner_environment())
        except BaseException as error:
            if record.stopping and isinstance(error, LauncherError):
                close(record)  # whoever stopped it has ended the scheduler's command as well
                raise LauncherError(f"Job {record.id} was stopped while it was being submitted.") from error
            record.ask_to_end()  # it may have got through even so; its runner will start nothing then
            raise

    def submission(self, job: Job) -> str:
        name = self.wishes.place()
        if name == LOCAL:
            return ""
        from .submit import shown

        return shown(name, self._script(job, name))

    def _script(self, job: Job, name: str) -> str:
        """Return the submit script for a job under the scheduler `name`."""
        from .submit import directives, name_of, script

        record, scheduler = _record(job), SCHEDULERS[name]
        options = [(scheduler.name_option, name_of(job.name, record.id, scheduler.longest))]
        limit = None if self.timeout is None else self.timeout + self.grace + MARGIN
        lines = directives(name, options + self.wishes.asked(name), queue=self.wishes.queue_of(name), timeout=limit)
        return script(lines, job.runner_argv(), record)

    def query(self, job: JobView) -> Status | None:
        record = job.record
        if record is None or not (jobid := jobid_of(record)):
            return None
        if jobid == SUBMITTING:
            return judge_unsent(record)
        name = _executor_of(record)
        if here(told := record.status()):
            return state_of(told)  # the scheduler, which may hang, knows nothing better of a runner on this machine
        if name == LOCAL:
            return judge_local(record, jobid)
        seen = poller(name).seen(jobid)
        if seen is None or seen.asked < float(record.data.get("created", 0)):  # nothing yet, or an earlier job's
            return last_known(record)
        return judge(record, name, jobid, seen)

    def expect(self, jobs: Sequence[JobView]) -> None:
        asked: dict[str, list[str]] = {}
        for job in jobs:
            jobid, name = jobid_of(_record(job)), noted(_record(job)).get("executor")
            if name in SCHEDULERS and jobid != SUBMITTING:
                asked.setdefault(str(name), []).append(jobid)
        for name, jobids in asked.items():
            poller(name).expect(jobids)

    def cancel(self, job: Job, force: bool = False) -> None:
        record = _record(job)
        jobid, name = jobid_of(record), _executor_of(record)
        if signal_runner(record.status(), force):
            return
        if jobid == SUBMITTING:
            if given_up(record):
                close(record)
                return
            raise LauncherError(
                f"Job {record.id} has no id yet.", hint=f"Try again in a moment: lazyllm stop {record.id}"
            )
        if name == LOCAL:
            return
        from .cancel import cancel

        cancel(name, jobid, running=record.state is Status.Running, force=force)
        poller(name).hurry()

    def watch(self, job: Job, seconds: float) -> bool:
        record = _record(job)
        name, jobid = _executor_of(record), jobid_of(record)
        if name == LOCAL or jobid == SUBMITTING:
            return super().watch(job, seconds)
        return poller(name).watch(job, jobid, seconds)

    def release(self, job: Job) -> None:
        if job.record and (name := _executor_of(job.record)) != LOCAL:
            poller(name).leave(jobid_of(job.record))


def _executor_of(record: Record) -> str:
    """Return the executor that a job was submitted through."""
    name = noted(record).get("executor")
    if name not in SCHEDULERS and name != LOCAL:
        raise LauncherError(f"Job {record.id} does not tell which scheduler it was given to ({NOTE} in its record).")
    return str(name)


def _record(job: JobView) -> Record:
    if job.record is None:
        raise LauncherError(f"Job {job.name!r} was not started.", hint="Call start() first.")
    return job.record
