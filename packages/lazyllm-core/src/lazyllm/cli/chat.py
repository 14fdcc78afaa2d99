"""`lazyllm chat`: ask a served model."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from typing import Any

import click

from ..errors import InputError, LazyLLMError
from . import options
from .terminal import CONTROLS, show_error

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
    if system and module.protocol != "openai":
        raise InputError(f"--system: engine {module.protocol}, which serves {module.url}, takes no system instruction.")
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
    """Ask what is typed, all that was said before with it; a turn that fails is forgotten, and the next one asked."""
    remembers = module.protocol == "openai"
    if not remembers:
        click.echo(f"Engine {module.protocol} is asked each line alone, without those before it.", err=True)
    prompt = _prompt()
    while text := _read(prompt):
        asked = [*messages, {"role": "user", "content": text}]
        try:
            answer = _answer(module, asked, sampling)
        except LazyLLMError as error:
            show_error(error)
            continue
        if remembers:
            messages = [*asked, {"role": "assistant", "content": answer}]


def _prompt() -> str:
    """Return the prompt, and have its line edited with the arrow keys where Python can."""
    if not sys.stdout.isatty():
        return "> "
    try:
        import readline  # noqa: F401 (input() uses it once it is there)
    except ImportError:
        return click.style("> ", fg="cyan")
    colour, plain = click.style("> ", fg="cyan").split("> ")
    return f"\1{colour}\2> \1{plain}\2"  # what has no width stands between the marks


def _read(prompt: str) -> str:
    try:
        return input(prompt).strip()
    except EOFError:
        click.echo()
        return ""


def _answer(module: Any, messages: Sequence[dict[str, str]], sampling: dict[str, Any], quiet: bool = False) -> str:
    pieces: list[str] = []
    cleaned = sys.stdout.isatty()
    try:
        for piece in module({"messages": list(messages)}, stream=True, **sampling):
            pieces.append(piece)
            if not quiet:
                click.echo(piece.translate(CONTROLS) if cleaned else piece, nl=False)
    except LazyLLMError:
        if pieces and not quiet:
            click.echo()
        raise
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
