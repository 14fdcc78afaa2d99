"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON value to stdout, for programs.")
launcher = click.option("--launcher", metavar="NAME", help="Where it runs (default: the configured launcher, `empty`).")
dry_run = click.option("--dry-run", is_flag=True, help="Show the exact command and start nothing.")
detach = click.option("--detach", "-d", is_flag=True, help="Return at once; the job lives on (lazyllm ps, logs, stop).")
keywords = click.option("--keywords", is_flag=True, help="List all options of the component, with defaults.")

FREE_OPTIONS = {"ignore_unknown_options": True}
"""Context settings of a command whose further options belong to a component"""


def component_arguments(name: str) -> Callable[[F], F]:
    """Take everything that the command itself does not know, in order, as `rest`."""
    return click.argument("rest", nargs=-1, type=click.UNPROCESSED, metavar=f"{name} [COMPONENT OPTIONS]")


@contextmanager
def mode_of(dry: bool) -> Iterator[None]:
    """Switch `config["mode"]` to display for a dry run: both are one thing."""
    from ..configs import Mode, config

    if not dry:
        yield
        return
    with config.override(mode=Mode.Display):
        yield
