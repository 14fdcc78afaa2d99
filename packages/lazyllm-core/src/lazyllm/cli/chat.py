"""`lazyllm chat`: ask a served model."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from typing import Any

import click

from ..errors import InputError
from . import options

EPILOG = """
\b
Examples:
  lazyllm chat http://127.0.0.1:21000/v1                         a conversation; an empty line or Ctrl-D ends it
  lazyllm chat JOB "What is the capital of France?"              one question, to a job that lazyllm ps shows
  echo "What is the capital of France?" | lazyllm chat URL       one question from stdin
"""


@click.command(epilog=EPILOG)
@click.argument("where")
@click.argument("question", nargs=-1)
@click.option("--system", metavar="TEXT", help="System instruction.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Longest answer, in tokens (default: the server's).")
@click.option("--temperature", type=click.FloatRange(min=0), help="0 takes the likeliest token (default: the model's).")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=600.0, show_default=True, help="Seconds."
)
@options.as_json
def chat(
    where: str,
    question: tuple[str, ...],
    system: str | None,
    max_tokens: int | None,
    temperature: float | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Ask the model at WHERE: a URL, or the id or name of a job that serves one."""
    from ..module.url import UrlModule

    module = UrlModule(_url(where), timeout=timeout)
    sampling = {k: v for k, v in (("max_tokens", max_tokens), ("temperature", temperature)) if v is not None}
    messages: list[dict[str, str]] = [{"role": "system", "content": system}] if system else []
    here = sys.stdin is not None and sys.stdin.isatty()
    text = " ".join(question) or ("" if here else _piped())
    if text:
        messages.append({"role": "user", "content": text})
        answer = _answer(module, messages, sampling, quiet=as_json)
        if as_json:
            click.echo(json.dumps({"answer": answer}, ensure_ascii=False))
        return
    if not here:
        raise InputError("There is no question: give it as an argument or on stdin.")
    _converse(module, messages, sampling)


def _piped() -> str:
    """Return what stdin, which is no terminal, holds; empty if it is closed."""
    try:
        return sys.stdin.buffer.read().decode("utf-8").strip() if sys.stdin is not None else ""
    except UnicodeDecodeError as error:
        raise InputError(f"What stdin holds is no UTF-8 text: {error.reason} at byte {error.start}.") from None


def _converse(module: Any, messages: list[dict[str, str]], sampling: dict[str, Any]) -> None:
    while text := _read():
        messages.append({"role": "user", "content": text})
        answer = _answer(module, messages, sampling)
        messages.append({"role": "assistant", "content": answer})


def _read() -> str:
    try:
        return input(click.style("> ", fg="cyan")).strip()
    except EOFError:
        click.echo()
        return ""


def _answer(module: Any, messages: Sequence[dict[str, str]], sampling: dict[str, Any], quiet: bool = False) -> str:
    pieces = []
    for piece in module({"messages": list(messages)}, stream=True, **sampling):
        pieces.append(piece)
        if not quiet:
            click.echo(piece, nl=False)
    if not quiet:
        click.echo()
    return "".join(pieces)


def _url(where: str) -> str:
    if "://" in where:
        return where
    if re.match(r"(\[[\da-f:]+\]|[\w.-]+):\d+(/|$)", where, re.I):
        return f"http://{where}"
    from ..jobs.manage import find, info

    found = info(find(where))
    if not found.url or not found.ready:
        raise InputError(f"Job {found.id} serves nothing (it is {found.state}).", hint=f"lazyllm logs {found.id}")
    return found.url
