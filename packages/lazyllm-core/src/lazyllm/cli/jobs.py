"""`lazyllm ps`, `logs`, `stop` and `reap`: jobs, from any terminal, after the one that started them is gone too."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError, LazyLLMError
from . import options
from .terminal import plain

if TYPE_CHECKING:
    from ..jobs.manage import JobInfo


PS = """
\b
Examples:
  lazyllm ps                   what runs or waits: id, state, age, launcher (and GPUs), name, URL
  lazyllm ps --all             ended jobs too, with why they ended
  lazyllm ps --json | jq -r '.[] | select(.ready) | .url'
"""
LOGS = """
\b
Examples:
  lazyllm logs -f JOB          all that it wrote, and what it writes from now on
  lazyllm logs -n 20 JOB       the last 20 lines
  lazyllm logs http://127.0.0.1:21000/v1
"""
STOP = """
\b
Examples:
  lazyllm stop JOB             asks the job to end, and kills it after its grace
  lazyllm stop http://127.0.0.1:21000/v1
  lazyllm stop --all
  lazyllm stop --force JOB     kills at once, and closes the record of a job that nobody reaches any more
"""
REAP = """
\b
Examples:
  lazyllm reap                 after a crash: ends what was left behind, and says what
  lazyllm reap --json
"""


@click.command(epilog=PS)
@click.option("--all", "-a", "everything", is_flag=True, help="Ended jobs too.")
@options.as_json
def ps(everything: bool, as_json: bool) -> None:
    """List jobs: what runs, and where it is served."""
    from ..jobs import manage

    found = manage.ps(running=not everything)
    if as_json:
        click.echo(json.dumps([job.to_json() for job in found], ensure_ascii=False, indent=2))
        return
    if not found:
        click.echo("no job runs" + ("" if everything else "; lazyllm ps --all lists those that ended"), err=True)
        return
    rows = [("ID", "STATE", "AGE", "WHERE", "NAME", "URL OR REASON"), *(_row(job) for job in found)]
    widths = [max(len(row[i]) for row in rows) for i in range(6)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _row(job: JobInfo) -> tuple[str, ...]:
    state = "Ready" if job.ready and not job.state.ended else str(job.state)
    if job.exit_code:
        state = f"{state} ({job.exit_code})"
    where, name, last = plain(job.launcher), plain(job.name), plain(job.url or job.reason)
    if job.gpus:
        where = f"{where}, GPU {plain(job.gpus)}"
    return job.id, state, _age(job.created), where, name[:40], last


def _age(since: float) -> str:
    seconds = max(0, int(time.time() - since))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


@click.command(epilog=LOGS)
@click.argument("job")
@click.option("--follow", "-f", is_flag=True, help="Go on until the job ends; Ctrl-C leaves the job alone.")
@click.option("--tail", "-n", "lines", type=click.IntRange(min=0), help="Only the last N lines.")
def logs(job: str, follow: bool, lines: int | None) -> None:
    """Show the output of JOB: an id, the beginning of one, a name, a PID or a URL."""
    from ..jobs import manage

    for line in manage.logs(job, follow=follow, lines=lines):
        click.echo(line)


@click.command(epilog=STOP)
@click.argument("jobs", nargs=-1, metavar="JOB...")
@click.option("--all", "-a", "everything", is_flag=True, help="Every job that runs.")
@click.option("--force", is_flag=True, help="Kill at once, and close the record in any case.")
@options.as_json
def stop(jobs: tuple[str, ...], everything: bool, force: bool, as_json: bool) -> int:
    """End each JOB (an id, a name, a PID or a URL) and prove that its processes and ports are gone.

    A job that cannot be ended does not keep the others from it; the exit code is 1 then. With --force the record of
    such a job is closed all the same.
    """
    from ..jobs import manage

    if bool(jobs) is everything:
        raise InputError("Name the jobs to stop, or give --all.", hint="lazyllm ps")
    wanted = [job.id for job in manage.ps(running=True)] if everything else [manage.find(key).id for key in jobs]
    told: list[dict[str, Any]] = []
    failed = 0
    for key, job in manage.stop_each(wanted, force=force):
        if isinstance(job, LazyLLMError):
            failed += 1
            told.append({"id": key, "error": job.message, "hint": job.hint})
            if not as_json:
                click.echo(f"{click.style('error:', fg='red', bold=True)} job {key}: {job}", err=True)
            continue
        told.append(job.to_json())
        if not as_json:
            click.echo(f"{job.id}  {job.state}  {plain(job.reason)}".rstrip())
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=False, indent=2))
    elif not told:
        click.echo("no job runs", err=True)
    return int(failed > 0)


@click.command(epilog=REAP)
@options.as_json
def reap(as_json: bool) -> None:
    """Find and end what outlived its owner: jobs whose caller or supervisor is gone, and their stray processes."""
    from ..jobs import manage

    found = manage.reap()
    if as_json:
        click.echo(json.dumps([job.to_json() for job in found], ensure_ascii=False, indent=2))
        return
    for job in found:
        ended = f"; ended {job.pids}" if job.pids else ""
        left = f", still alive: {job.left}" if job.left else ""
        click.echo(f"{job.id}  {plain(job.name)}: {plain(job.reason)}{ended}{left}")
    if not found:
        click.echo("nothing was left behind", err=True)
