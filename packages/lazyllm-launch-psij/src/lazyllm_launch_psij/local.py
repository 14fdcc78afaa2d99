"""psij-python's local executor: a process of this machine."""

from __future__ import annotations

from pathlib import Path

from lazyllm.errors import LauncherError
from lazyllm.jobs.job import Job

from .library import executor, psij
from .schedulers import LOCAL
from .submit import LOG


def start(job: Job) -> str:
    """Start a job and return its process's number."""
    module, runs, argv = psij(), executor(LOCAL), job.runner_argv()
    from .plain import NAME

    spec = module.JobSpec(
        executable=argv[0],
        arguments=list(argv[1:]),
        directory=Path("/"),
        environment=job.runner_environment(),
        stdout_path=Path(argv[-1]) / LOG,
        launcher=NAME,
    )
    started = module.Job(spec)
    try:
        runs.submit(started)
    except module.SubmitException as error:
        raise LauncherError(
            f"psij-python cannot start a process here: {error}.", hint="ulimit -u shows your limit."
        ) from None
    return str(started.native_id)
