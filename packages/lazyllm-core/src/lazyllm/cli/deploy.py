"""`lazyllm deploy`: a model's folder in, a URL out."""

from __future__ import annotations

import json

import click

from . import options
from .keywords import one_positional, parse, show

EPILOG = """
\b
Examples:
  lazyllm deploy runs/mine                      stays in the foreground; Ctrl-C ends the server
  lazyllm deploy --detach runs/mine             prints the URL once it answers; lazyllm stop ends the server
  lazyllm deploy path/to/model --port 8000 --engine transformers
  lazyllm deploy --keywords                     every option of the engine

\b
MODEL is a model's folder, or a folder that lazyllm finetune filled (its lazyllm_merge is served).
The URL is printed to stdout once the server answers, everything else to stderr.
"""


@click.command(context_settings=options.FREE_OPTIONS, epilog=EPILOG)
@options.component("MODEL", returns="once the server answers")
@click.option("--engine", metavar="NAME", help="Engine in lazyllm.deploy (default: transformers).")
@click.pass_context
def deploy(
    ctx: click.Context,
    rest: tuple[str, ...],
    engine: str | None,
    launcher: str | None,
    detach: bool,
    dry_run: bool,
    keywords: bool,
    as_json: bool,
) -> None:
    """Serve the model in the folder MODEL. Further --options are keywords of the engine, such as --port."""
    from ..module.choose import choose

    engine_class = choose("deploy", engine)
    if keywords:
        show(engine_class, as_json)
        return
    positional, given = parse(engine_class, rest, ctx.command)
    model = one_positional(positional, "MODEL, the folder of the model", ctx.command)
    job = engine_class(launcher=launcher, **given).makejob(model, detach=detach)
    if options.shown_only(job, dry_run, as_json):
        return
    job.start()
    job.wait_ready()
    key_file = str(job.key_file) if job.key_file else None
    found = {"job": job.id, "url": job.url, "status": str(job.status), "key_file": key_file}
    click.echo(json.dumps(found, ensure_ascii=False) if as_json else job.url)
    if key_file:
        click.echo(f"It demands an API key. lazyllm sends it; for other programs it stands in {key_file}", err=True)
    if not detach:
        click.echo("Ctrl-C ends the server.", err=True)
        job.wait()
