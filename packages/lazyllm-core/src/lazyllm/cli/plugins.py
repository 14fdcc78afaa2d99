"""`lazyllm plugins`: what is installed, and what is wrong with it."""

from __future__ import annotations

import json

import click

from . import options

EPILOG = """
\b
Examples:
  lazyllm plugins              what is installed, which engines were found, and what mends what is missing
  lazyllm plugins --json | jq -r '.[].components[]'
"""


@click.command(epilog=EPILOG)
@options.as_json
def plugins(as_json: bool) -> None:
    """Show installed plugins: components, engines found or not, faults and what mends them."""
    from ..plugins import report
    from ..registry.catalog import KNOWN

    found = report()
    if as_json:
        click.echo(json.dumps([r.to_json() for r in found], ensure_ascii=False, indent=2))
        return
    for plugin in found:
        click.echo(f"{click.style(plugin.distribution, bold=True)} {plugin.version}")
        if plugin.components:
            click.echo(f"  components  {', '.join(plugin.components)}")
        if plugin.commands:
            click.echo(f"  commands    {', '.join(plugin.commands)}")
        for engine in plugin.engines:
            state = engine["version"] or f"not found ({engine['remedy']})"
            click.echo(f"  engine      {engine['name']} {state}")
        for fault in plugin.faults:
            click.echo(f"  {click.style('fault', fg='red')}       {fault}")
        shown = {engine["remedy"] for engine in plugin.engines}
        for remedy in dict.fromkeys(r for r in plugin.remedies if r and r not in shown):
            click.echo(f"  remedy      {remedy}")
    installed = {c for plugin in found for c in plugin.components}
    missing = sorted({d for g, names in KNOWN.items() for n, (_, d) in names.items() if f"{g}.{n}" not in installed})
    if missing:
        click.echo(f"known, not installed (pip install NAME): {', '.join(missing)}", err=True)
