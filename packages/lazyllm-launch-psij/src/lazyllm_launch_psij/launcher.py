"""launchers.psij: jobs under PBS, LSF or Slurm. psij-python knows how to speak to each; the runner does the rest."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lazyllm.errors import LauncherError
from lazyllm.jobs import checks, runner
from lazyllm.jobs.job import Job
from lazyllm.jobs.launcher import LazyLLMLaunchersBase
from lazyllm.jobs.polling import last_known
from lazyllm.jobs.record import Record
from lazyllm.jobs.status import Status, state_of
from lazyllm.jobs.sweep import here, signal_runner
from lazyllm.jobs.view import JobView

from .gpus import ASSUMED, fitted
from .home import at_home
from .judge import judge, judge_local
from .poller import PsijPoller, Seen, poller
from .schedulers import LOCAL, SCHEDULERS
from .unsent import NOTE, SUBMITTING, begin, close, given_up, jobid_of, judge_unsent, noted, place_of
from .wishes import Wishes

MARGIN = 60.0
"""Seconds that the scheduler gives a job beyond its timeout, so that it is the runner that ends it."""
NODE = str(Path(__file__).with_name("node.py"))
"""The runner of a scheduler's job."""


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
        checks.python(python)
        self.wishes = Wishes(executor, queue, nnode, ncpus, ngpus, timeout, account, options or {})
        self.timeout = timeout
        self.python = python or sys.executable

    executor = property(lambda self: self.wishes.executor)
    queue = property(lambda self: self.wishes.queue)
    nnode = property(lambda self: self.wishes.nnode)
    ngpus = property(lambda self: self.wishes.ngpus)

    def environment(self) -> dict[str, str]:
        """Refuse, before a record is made, what cannot be submitted here; the job gets no variables from here."""
        name = self.wishes.ready()
        self._fitted(name, told=True)
        self.host = "127.0.0.1" if name == LOCAL else None
        return {}

    def _fitted(self, name: str, *, told: bool = False) -> Wishes:
        return fitted(self.wishes, name, "ngpus" in self.assumed, told=told)

    def submit(self, job: Job) -> str:
        record, name = job.demand_record(), self.wishes.place()
        begin(record, name)
        if name == LOCAL:
            from .local import start

            return start(job)
        from .submit import submit

        text, ngpus = self._script(job, name), self._fitted(name).ngpus
        hint = ASSUMED.format(ngpus) if ngpus and "ngpus" in self.assumed else ""
        try:
            return submit(name, text, job.runner_environment(), hint=hint)
        except BaseException as error:
            if record.stopping and isinstance(error, LauncherError):
                close(record)  # whoever stopped it has ended the scheduler's command as well
                raise LauncherError(f"Job {record.id} was stopped while it was being submitted.") from error
            record.ask_to_end()  # it may have got through even so; its runner will start nothing then
            raise

    def submission(self, job: Job) -> str:
        name = self.wishes.place()
        if name == LOCAL:
            self._fitted(name)
            return ""
        from .submit import shown

        return shown(name, self._script(job, name))

    def _script(self, job: Job, name: str) -> str:
        """Return the submit script for a job under the scheduler `name`."""
        from .submit import directives, name_of, script

        record, scheduler = job.demand_record(), SCHEDULERS[name]
        options = [(scheduler.name_option, name_of(job.name, record.id, scheduler.longest))]
        limit = None if self.timeout is None else self.timeout + float(record.data["grace"]) + MARGIN
        wishes = self._fitted(name)
        lines = directives(name, options + wishes.asked(name), queue=wishes.queue_of(name), timeout=limit)
        return script(lines, [self.python, "-I", "-S", NODE, runner.__file__, str(record.folder)], record)

    def query(self, job: JobView) -> Status | None:
        job.waiting_for, record = "", job.record
        if record is None or not (jobid := jobid_of(record)):
            return None
        if jobid == SUBMITTING:
            return judge_unsent(record)
        name = _executor_of(record)
        if here(told := record.status()):
            return state_of(told)  # the scheduler, which may hang, knows nothing better of a runner on this machine
        if name == LOCAL:
            return judge_local(record, jobid)
        if (seen := _seen(record, name, jobid)) is None:
            return last_known(record)
        state = judge(record, name, jobid, seen)
        reason = seen.message.strip().strip("()")
        if state is Status.InQueue and seen.status is Status.InQueue and reason != "None":
            job.waiting_for = reason
        return state

    def expect(self, jobs: Sequence[JobView]) -> None:
        asked: dict[PsijPoller, list[str]] = {}
        for job in jobs:
            record = job.demand_record()
            jobid, name = jobid_of(record), noted(record).get("executor")
            if name in SCHEDULERS and jobid != SUBMITTING:
                asked.setdefault(poller(str(name), place_of(record)), []).append(jobid)
        for asking, jobids in asked.items():
            asking.expect(jobids)

    def cancel(self, job: Job, force: bool = False) -> None:
        record = job.demand_record()
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

        cancel(record, name, jobid, running=record.state is Status.Running, force=force)
        poller(name, place_of(record)).hurry()

    def leftovers(self, jobs: Sequence[JobView]) -> dict[str, bool]:
        from .cancel import cancel

        told: dict[str, bool] = {}
        for record in (job.demand_record() for job in jobs):
            name, jobid = _executor_of(record), jobid_of(record)
            if name == LOCAL or jobid == SUBMITTING:
                told[record.id] = False
            elif (seen := _seen(record, name, jobid)) and at_home(record, name):
                held = seen.status is not None and not seen.status.ended
                if held:
                    cancel(record, name, jobid, force=True)
                told[record.id] = held
        return told

    def watch(self, job: Job, seconds: float) -> bool:
        record = job.demand_record()
        name, jobid = _executor_of(record), jobid_of(record)
        if name == LOCAL or jobid == SUBMITTING:
            return super().watch(job, seconds)
        return poller(name, place_of(record)).watch(job, jobid, seconds)

    def release(self, job: Job) -> None:
        if job.record and (name := _executor_of(job.record)) != LOCAL:
            poller(name, place_of(job.record)).leave(jobid_of(job.record))


def _seen(record: Record, name: str, jobid: str) -> Seen | None:
    """Return what the scheduler says of this very job; None if nothing yet. One of another name it is not."""
    seen = poller(name, place_of(record)).seen(jobid)
    if seen is None or seen.asked < float(record.data.get("created", 0)):  # an earlier job's
        return None
    return seen if not seen.name or seen.name.endswith(record.id) else Seen(None, seen.asked)


def _executor_of(record: Record) -> str:
    """Return the executor that a job was submitted through."""
    name = noted(record).get("executor")
    if name not in SCHEDULERS and name != LOCAL:
        raise LauncherError(f"Job {record.id} does not tell which scheduler it was given to ({NOTE} in its record).")
    return str(name)
