"""`lazyllm config`: every setting, and where its value comes from."""

from __future__ import annotations

import json

import click

from . import options

EPILOG = """
\b
Examples:
  lazyllm config                                every setting, its value and where that comes from
  lazyllm config launcher                       one of them
  LAZYLLM_DEFAULT_LAUNCHER=slurm lazyllm config launcher

\b
A value is taken from the first of: a flag or code, the environment variable LAZYLLM_<KEY>, the file config.toml in
LAZYLLM_HOME, the default. For example, in config.toml:
  launcher = "slurm"
  [sco]
  workspace = "my-workspace"
"""


@click.command(epilog=EPILOG)
@click.argument("key", required=False)
@options.as_json
def config(key: str | None, as_json: bool) -> None:
    """Show all settings, or the one called KEY."""
    from ..configs import config as settings
    from .neighbour import historic_home

    found = [settings.setting(key)] if key else settings.settings()
    if as_json:
        rows = [
            {
                "key": s.key.name,
                "value": s.shown if s.key.secret and s.value else s.value,
                "source": s.source,
                "default": s.key.default,
                "variables": s.key.variables,
                "description": s.key.description,
            }
            for s in found
        ]
        click.echo(json.dumps(rows[0] if key else rows, ensure_ascii=False, indent=2))
        return
    width = max(len(s.key.name) for s in found)
    for s in found:
        shown = s.shown if s.key.secret or isinstance(s.value, str) is False else repr(str(s.value))
        click.echo(f"{s.key.name:<{width}}  {shown}  {click.style(f'[{s.source}]', fg='cyan')}")
        click.echo(f"{'':<{width}}  {s.key.description} ({', '.join(s.key.variables)})")
    if note := historic_home():
        click.echo(f"note: {note}", err=True)
