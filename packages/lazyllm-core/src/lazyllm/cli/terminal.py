"""What is written to a terminal, which may act on some characters and lack others."""

from __future__ import annotations

import click

from ..errors import LazyLLMError

CONTROLS = {code: "?" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"} | {ord("\r"): None}
"""What `str.translate` needs to leave a text's lines and tabs, but nothing else that a terminal acts on"""


def plain(text: str | None) -> str:
    """Return `text` as one line that a terminal can only print: others may have chosen it."""
    line = " ".join((text or "").split())
    return "".join(letter if letter.isprintable() else "?" for letter in line)


def show_error(error: LazyLLMError) -> None:
    click.echo(f"{click.style('error:', fg='red', bold=True)} {error}", err=True)


def escape_what_cannot_be_written() -> None:
    """Have stdout and stderr write a character that their encoding lacks as JSON would, instead of failing."""
    import codecs
    import json
    import sys

    def escaped(error: UnicodeError) -> tuple[str, int]:
        if not isinstance(error, UnicodeEncodeError):
            raise error
        return json.dumps(error.object[error.start : error.end])[1:-1], error.end

    codecs.register_error("lazyllm.escaped", escaped)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and stream.errors == "strict":
            stream.reconfigure(errors="lazyllm.escaped")  # type: ignore[union-attr]
