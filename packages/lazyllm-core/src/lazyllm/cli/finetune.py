"""`lazyllm finetune`: base model and data in, merged model out."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..errors import InputError
from . import options
from .keywords import one_positional, parse, show

EPILOG = """
\b
Examples:
  lazyllm finetune path/to/base --data train.json --out runs/mine
  lazyllm finetune path/to/base --data train.jsonl --out runs/mine --num-epochs 3 --lora-r 16 --learning-rate 1e-4
  lazyllm finetune path/to/base --data data/ --out runs/mine --launcher slurm --detach
  lazyllm finetune --keywords                   every option of the trainer
  lazyllm finetune path/to/base --data train.json --out runs/mine --dry-run

\b
DIR afterwards holds lazyllm_lora (the adapter), lazyllm_merge (the model to deploy), the log, and the loss as a plot
and as JSON lines. The path of the merged model is printed to stdout, everything else to stderr.
"""


@click.command(context_settings=options.FREE_OPTIONS, epilog=EPILOG)
@options.component("BASE")
@click.option("--data", metavar="PATH", help="JSON or JSONL file, or a folder of them: alpaca keys or chat messages.")
@click.option("--out", metavar="DIR", help="Folder for the results.")
@click.option("--method", metavar="NAME", help="Trainer in lazyllm.finetune (default: alpacalora).")
@click.pass_context
def finetune(
    ctx: click.Context,
    rest: tuple[str, ...],
    data: str | None,
    out: str | None,
    method: str | None,
    launcher: str | None,
    detach: bool,
    dry_run: bool,
    keywords: bool,
    as_json: bool,
) -> None:
    """Fine-tune the model in the folder BASE. Further --options are keywords of the trainer."""
    from ..module.choose import choose

    trainer_class = choose("finetune", method)
    if keywords:
        show(trainer_class, as_json)
        return
    positional, given = parse(trainer_class, rest, ctx.command)
    base = one_positional(positional, "BASE, the folder of the model", ctx.command)
    also = given.get("data_path")
    if data and also and data != also:
        raise InputError(f"--data {data} and --data-path {also} are one option; give it once.")
    data = data or also
    if not data or not out:
        raise InputError(f"{'--out DIR' if data else '--data PATH'} is missing.", hint="lazyllm finetune --help")
    job = trainer_class(base, Path(out), launcher=launcher, **given).makejob(data, detach=detach)
    if options.shown_only(job, dry_run, as_json):
        return
    job.start()
    if not detach:
        job.wait()
    found = {"job": job.id, "merged": job.return_value, "status": str(job.status)}
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
    else:
        click.echo(job.id if detach else job.return_value)
