"""Hands a job to its scheduler: psij-python's directives and one quoted command line, on the stdin of its command."""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lazyllm.errors import LauncherError
from lazyllm.jobs.record import Record

from .commands import run
from .library import executor, psij
from .schedulers import PLAIN, SCHEDULERS, Scheduler

LIMIT = 60.0
"""Seconds that a submission may take; job filters of a site may be slow."""
LOG = "node.log"
"""File in the record that gets what a node says if the runner cannot be started there."""
SCRIPT = Path("/lazyllm-job")
"""Stands for the script in psij-python's command lines; it is never written."""


def name_of(name: str, record_id: str, longest: int) -> str:
    """Return the job's name under its scheduler: readable, and ending with the record's id."""
    readable = re.sub(r"[^A-Za-z0-9_.]+", "_", name).strip("_.")[: longest - len(record_id) - 1]
    return f"{readable if readable[:1].isalpha() else 'j'}-{record_id}"


def directives(
    name: str, options: Sequence[tuple[str, str]], *, queue: str | None = None, timeout: float | None = None
) -> list[str]:
    """Return the lines of psij-python's submit script that the scheduler reads.

    Its body is not used: it would paste paths between quotes, and run the job below two shells that do not pass
    signals on.
    """
    scheduler = SCHEDULERS[name]
    module = psij()
    attributes = module.JobAttributes(queue_name=queue)
    job = module.Job(module.JobSpec(executable="unused", attributes=attributes))
    context: dict[str, Any] = {
        "job": job,
        "custom_attributes": {scheduler.prefix: [{"key": key, "value": value} for key, value in options]},
        "env": [],
        "psij": {"lib": {}, "launch_command": [], "script_dir": "/dev/null"},
    }
    if timeout is not None:
        context["formatted_job_duration"] = scheduler.duration(timeout)
    rendered = io.StringIO()
    executor(name).generate_submit_script(job, context, rendered)
    lines = [line.strip() for line in rendered.getvalue().splitlines() if line.startswith("#") and line[:2] != "#!"]
    return [*(_unquoted(line) for line in dict.fromkeys(lines)), *([scheduler.once] if scheduler.once else [])]


def _unquoted(line: str) -> str:
    """Undo psij-python's quotes within quotes, of which a scheduler takes one pair for a part of the value."""
    line = re.sub(r"\"'([^\"']*)'\"", r'"\1"', line)
    return re.sub(rf'"({PLAIN.pattern})"$', r"\1", line, flags=re.ASCII)


def script(lines: Sequence[str], argv: Sequence[str], record: Record) -> str:
    """Return the submit script, whose shell becomes `argv`, so that signals reach the runner itself."""
    log = shlex.quote(str(record.folder / LOG))
    return "\n".join(["#!/bin/bash", *lines, "", f"exec {shlex.join(argv)} </dev/null >>{log} 2>&1", ""])


def _argv(name: str) -> list[str]:
    """Return the scheduler's command that reads a script from its stdin."""
    return [part for part in executor(name).get_submit_command(None, SCRIPT) if part != str(SCRIPT)]


def shown(name: str, text: str) -> str:
    """Return the submission of a script as one would type it."""
    return f"{shlex.join(_argv(name))} <<'EOF'\n{text}EOF"


def submit(name: str, text: str, variables: Mapping[str, str], *, hint: str = "") -> str:
    """Submit a script and return the id that the scheduler gave the job; `hint` is added to that of a refusal.

    Raises:
        LauncherError: the scheduler refused it, or cannot be reached.
    """
    scheduler = SCHEDULERS[name]
    answer = run(name, _argv(name), stdin=text, limit=LIMIT, extra=variables)
    if not answer.ok:
        raise _refused(scheduler, answer.words, hint)
    try:
        return str(executor(name).job_id_from_submit_output(answer.out))
    except Exception:
        raise _refused(scheduler, answer.words, hint) from None


def _refused(scheduler: Scheduler, words: str, more: str) -> LauncherError:
    words = re.sub(r"(sbatch|qsub|bsub): (error: )?", "", words).rstrip(".")
    hint = f"{scheduler.queues} lists the queues of this cluster."
    return LauncherError(f"{scheduler.title} refused the job: {words}.", hint=f"{hint}\n  {more}" if more else hint)
