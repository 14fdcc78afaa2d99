"""The user's turn: text, a number, a message, messages, or one of these in a tuple of one."""

from __future__ import annotations

from typing import Any

from ...errors import PromptError
from .history import as_message, content_text, tool_content


def _unwrap(given: Any) -> str | list[dict[str, Any]]:
    while isinstance(given, tuple) and len(given) == 1:
        given = given[0]
    if isinstance(given, str):
        return given
    if isinstance(given, (int, float)):
        return str(given)
    if isinstance(given, dict):
        return [as_message(given, "The input")]
    if isinstance(given, list):
        return [as_message(message, f"input[{place}]") for place, message in enumerate(given)]
    raise PromptError(f"The user's input is text, a message or a list of messages, not {type(given).__name__}.")


def input_text(given: Any) -> tuple[str, bool]:
    """Return the input's text, and whether it is the result of a tool."""
    asked = _unwrap(given)
    if isinstance(asked, str):
        return asked, False
    is_tool = [message["role"] == "tool" for message in asked]
    contents = (message.get("content") for message in asked)
    texts = (tool_content(c) if t else content_text(c, "The input") for c, t in zip(contents, is_tool, strict=True))
    return "\n".join(texts), any(is_tool)


def input_messages(given: Any, user: str = "") -> list[dict[str, Any]]:
    """Return the input as messages; `user`, an instruction's part, goes before the first one's content."""
    asked = _unwrap(given)
    if isinstance(asked, str):
        return [{"role": "user", "content": user + asked}]
    if not user:
        return asked
    content = asked[0].get("content") if asked else None
    if isinstance(content, str):
        return [{**asked[0], "content": user + content}, *asked[1:]]
    return [{"role": "user", "content": user}, *asked]
