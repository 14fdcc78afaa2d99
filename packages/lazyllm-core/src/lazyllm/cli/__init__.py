"""The `lazyllm` command. Each subcommand is an entry point of the group `lazyllm.commands`, plugins' too."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

import click

from ..errors import (
    InputError,
    LazyLLMError,
    MissingPluginError,
    PluginConflictError,
    PluginError,
    UnknownNameError,
    near,
)
from ..registry.entries import COMMANDS, entries, load_component, only
from .signals import exit_code, interrupt_at_signals
from .terminal import escape_what_cannot_be_written, show_error

EPILOG = """
\b
The main job, from data to an answer:
  lazyllm finetune path/to/base --data train.json --out runs/mine
  lazyllm deploy --detach runs/mine
  lazyllm chat http://127.0.0.1:21000/v1
  lazyllm ps                       what runs, and where
  lazyllm stop --all

\b
Any command takes --help; finetune and deploy show with --dry-run what they would run.
"""


class _Commands(click.Group):
    """Commands found by name; only the one that is called is imported."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(entries(COMMANDS))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        claims = entries(COMMANDS).get(cmd_name.lower())
        if not claims:
            return None
        try:
            command: click.Command = load_component(only(claims))
        except (PluginError, PluginConflictError) as error:
            if ctx.resilient_parsing or ctx.info_name == cmd_name:
                raise
            return _broken(cmd_name, error)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and args[0].lower() not in entries(COMMANDS):
            raise InputError(
                f"lazyllm has no command {args[0]!r}. {near(args[0], entries(COMMANDS))}", hint="lazyllm --help"
            )
        return super().resolve_command(ctx, args)


def _broken(name: str, error: LazyLLMError) -> click.Command:
    """Stand in for a command whose plugin cannot be loaded: listing goes on, using it raises."""

    def fail(**_: Any) -> None:
        raise error

    context = {"ignore_unknown_options": True, "allow_extra_args": True}
    return click.Command(name, callback=fail, help=f"(cannot be loaded) {error.message}", context_settings=context)


@click.command(cls=_Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lazyllm-core", prog_name="lazyllm")
def cli() -> None:
    """Fine-tune a model, deploy it and call it, on any machine."""


def main() -> None:
    """Run the command line and leave with its exit code: 0, 1 (failed), 2 (bad input) or 128 + N (ended by signal N).

    Interrupts are 130 (Ctrl-C), 143 (SIGTERM) and 129 (SIGHUP).
    """
    escape_what_cannot_be_written()
    interrupt_at_signals()
    sys.exit(run(sys.argv[1:]))


def run(args: list[str]) -> int:
    """Run the command line `args` and return the exit code; errors of ours are printed, never a traceback."""
    from .neighbour import warn_of_historic_package

    warn_of_historic_package()
    try:
        result = cli.main(args, prog_name="lazyllm", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Abort as error:
        return exit_code(error.__cause__)
    except KeyboardInterrupt as error:
        click.echo("interrupted", err=True)
        return exit_code(error)
    except click.UsageError as error:
        if "--json" in args:
            return _report(InputError(error.format_message()), as_json=True)
        error.show()
        return 2
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except LazyLLMError as error:
        return _report(error, "--json" in args)
    except OSError as error:
        if error.filename is not None or error.errno not in (errno.EPIPE, errno.ENOSPC, errno.EIO):
            raise
        _close_output(error)
        return exit_code(error.__context__) if isinstance(error.__context__, KeyboardInterrupt) else 1


def _close_output(error: OSError) -> None:
    """Say why stdout takes no more, unless its reader has gone, and have the interpreter not try again at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        if error.errno != errno.EPIPE:
            click.echo(f"error: the output cannot be written: {error.strerror}", err=True)
    except OSError:  # the terminal has gone
        os.dup2(nowhere, 2)
    os.dup2(nowhere, 1)


def _report(error: LazyLLMError, as_json: bool) -> int:
    if as_json:
        import json

        told = {"error": error.message, "hint": error.hint, "type": type(error).__name__}
        click.echo(json.dumps(told, ensure_ascii=False))
    else:
        show_error(error)
    return 2 if isinstance(error, (InputError, UnknownNameError, MissingPluginError)) else 1
