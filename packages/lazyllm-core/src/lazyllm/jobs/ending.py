"""Ends jobs from outside, those too whose launcher is not installed, cannot be made, or does not answer."""

from __future__ import annotations

import signal

from ..common.log import LOG
from ..errors import JobError, LazyLLMError, PluginError
from .job import Job
from .launcher import LazyLLMLaunchersBase
from .record import Record
from .runner import kill
from .status import Status
from .sweep import here, runner_alive, settle, signal_runner
from .view import JobView


class _Absent(LazyLLMLaunchersBase):
    """Stands for a launcher that cannot be had: it reaches a job's runner on this machine, and nothing else."""

    def __init__(self, why: LazyLLMError) -> None:
        super().__init__()
        self.why = why

    def submit(self, job: Job) -> str | None:
        raise self.why

    def query(self, job: JobView) -> Status | None:
        return None

    def cancel(self, job: Job, force: bool = False) -> None:
        if job.record is None or not signal_runner(job.record.status(), force):
            raise self.why


def end(record: Record, force: bool = False) -> None:
    """End a job, whoever started it. With `force` its record is closed even if nothing of the job can be reached.

    Raises:
        JobError: some process would not die, or the job cannot be reached from here.
        LauncherError: its launcher could not cancel it.
    """
    absent: LazyLLMError | None = None
    try:
        job = Job.adopt(record)
    except LazyLLMError as error:
        absent = error
        job = Job.adopt(record, _Absent(error))
    try:
        job.stop(force)
    except LazyLLMError as error:
        if record.state.ended:
            raise  # what is left of it is named
        never_ran = not record.status().get("runner_pid")
        if absent and (force or never_ran):
            close(record, absence(record) or f"its launcher cannot be used: {absent.message}")
        elif force and never_ran:
            close(record, "stopped before it ran; its launcher did not confirm it", Status.Cancelled)
        elif force:
            close(record, f"given up: {error.message}")
            LOG.warning("Job %s may live on: %s", record.id, error.message)
        elif absent:
            raise JobError(
                f"Job {record.id} ({record.data.get('name')}) cannot be reached from here: {absent.message}",
                hint=f"{absent.hint or ''}\n  lazyllm stop --force {record.id} closes its record all the same.".strip(),
            ) from None
        else:
            raise


def close(record: Record, reason: str, state: Status = Status.Failed) -> None:
    """Write a job's end without its runner. A runner on this machine is killed; one that starts later starts nothing.

    The job's processes here are ended, too. Its scheduler, which may hold it even so, is asked about it later.
    """
    record.ask_to_end()
    status = record.status()
    record.finish(state, reason, unconfirmed=bool(record.jobid) and not here(status))
    if here(status) and runner_alive(status):
        kill(status["runner_pid"], status["runner_created"], signal.SIGKILL)


def absence(record: Record) -> str | None:
    """Return, in words, that a job's launcher is not there; None if it is."""
    from ..registry.group import find_group

    name = record.data.get("launcher") or "?"
    try:
        getattr(find_group("launchers"), name)
    except AttributeError:  # an UnknownNameError, or a name with an underscore in front, which no group has
        return f"its launcher {name} is not installed"
    except PluginError as error:
        return f"its launcher {name} cannot be loaded: {error.message}"
    except LazyLLMError as error:
        return f"its launcher {name} cannot be found: {error.message}"
    return None


def close_if_absent(record: Record) -> bool:
    """Close the record of a job that has never run and whose launcher is not there; say whether that was so."""
    if record.status() or settle(record) or (why := absence(record)) is None:
        return False
    close(record, why)
    return True
