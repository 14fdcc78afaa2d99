"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ..jobs.job import Job

F = TypeVar("F", bound=Callable[..., Any])

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON value to stdout, for programs.")
launcher = click.option("--launcher", metavar="NAME", help="Where it runs (default: the configured launcher, `empty`).")
dry_run = click.option(
    "--dry-run", is_flag=True, help="Show the exact command, and what a scheduler would be given; start nothing."
)
keywords = click.option("--keywords", is_flag=True, help="List all options of the component, with defaults.")

FREE_OPTIONS = {"ignore_unknown_options": True}
"""Context settings of a command whose further options belong to a component"""


def component(name: str, returns: str = "once the job has started") -> Callable[[F], F]:
    """Take what commands share that run a component: `name`, the component's own options, how and whether it runs.

    `returns` says when a detached one does. What the command itself does not know arrives, in order, as `rest`.
    """
    told = f"Return {returns}; the job lives on (lazyllm ps, logs, stop)."
    detach = click.option("--detach", "-d", is_flag=True, help=told)
    rest = click.argument("rest", nargs=-1, type=click.UNPROCESSED, metavar=f"{name} [COMPONENT OPTIONS]")

    def taken(command: F) -> F:
        for option in (as_json, keywords, dry_run, detach, launcher, rest):
            command = option(command)
        return command

    return taken


def shown_only(job: Job, dry_run: bool, as_json: bool) -> bool:
    """Print the job's command if it is only to be shown: `--dry-run` and `config["mode"]` display are one thing."""
    from ..configs import Mode, config

    if not dry_run and config["mode"] is not Mode.Display:
        return False
    import json

    if job.command is None:
        return True
    handed = job.submission()
    if as_json:
        click.echo(json.dumps({**job.command.describe(), "submission": handed or None}))
        return True
    click.echo(job.command.show())
    for name, text in job.command.files.items():
        click.echo(f"\n<{name}>:\n{text}")
    if handed:
        click.echo(f"\nsubmitted to launchers.{job.launcher.short_name()} by:\n{handed}")
    return True
