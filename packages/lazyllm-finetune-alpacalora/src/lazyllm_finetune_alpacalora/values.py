"""Values of training records: what they are, in words, and whether a tokenizer can read them."""

from __future__ import annotations

from typing import Any

from lazyllm.errors import DataError


def check_text(value: str | None, where: str) -> None:
    """Refuse half characters, which JSON can write (`\\ud800`) and no tokenizer can read."""
    try:
        (value or "").encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where} holds half a character ({error.object[error.start]!r}) at position {error.start}."
        ) from None


def name_of(value: Any) -> str:
    """Return what a JSON value is, in words."""
    if value is None:
        return "null"
    return {
        "bool": "a truth value",
        "int": "a number",
        "float": "a number",
        "str": "text",
        "list": "a list",
        "dict": "an object",
    }.get(type(value).__name__, type(value).__name__)
