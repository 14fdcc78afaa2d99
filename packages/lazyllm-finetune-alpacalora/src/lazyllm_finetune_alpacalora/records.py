"""What one training record must look like: alpaca keys, or a chat's messages."""

from __future__ import annotations

from typing import Any, Literal

from lazyllm.errors import DataError, near

from .calls import check_tools, read_calls
from .values import check_text, name_of

ROLES = ("system", "user", "assistant", "tool")


def check_record(record: Any, where: str, hint: str | None = None) -> Literal["alpaca", "messages"]:
    """Check one record and return its kind.

    Args:
        where: names it in errors: a file, and a line or a number.
        hint: what to do where it is no object.
    """
    if not isinstance(record, dict):
        raise DataError(
            f"{where} is {name_of(record)}; expected an object with instruction and output, or with messages.",
            hint=hint,
        )
    if "messages" in record:
        if "instruction" in record:
            raise DataError(f"{where} has both messages and instruction; which of the two to train on is not clear.")
        _check_messages(record["messages"], where)
        check_tools(record.get("tools"), where)
        return "messages"
    _check_alpaca(record, where)
    return "alpaca"


def _check_alpaca(record: dict[str, Any], where: str) -> None:
    missing = [key for key in ("instruction", "output") if key not in record]
    if missing:
        found = ", ".join(map(str, record)) or "none"
        raise DataError(
            f"{where} lacks {' and '.join(repr(m) for m in missing)}; its keys are: {found}."
            f"{_misspelt(missing, record)}",
            hint="A record has instruction, output and perhaps input, or it has messages (a list of role and content).",
        )
    for key in ("instruction", "input", "output"):
        value = record.get(key)
        if not isinstance(value, str) and not (key == "input" and value is None):
            raise DataError(f"{where}: {key!r} must be text, but it is {name_of(value)}.")
        check_text(value, f"{where}: {key!r}")
    if not record["instruction"].strip():
        raise DataError(f"{where} has an empty instruction.")


def _misspelt(missing: list[str], record: dict[str, Any]) -> str:
    """Return the sentence that names the key which was probably meant to be a missing one, '' if none is like it."""
    from difflib import get_close_matches

    others = [key for key in record if key not in ("instruction", "input", "output")]
    for wanted in missing:
        if found := get_close_matches(wanted, others, n=1):
            return f" Is {found[0]!r} meant to be {wanted!r}?"
    return ""


def _check_messages(messages: Any, where: str) -> None:
    if not isinstance(messages, list) or not messages:
        raise DataError(f"{where}: 'messages' must be a list of at least one user and one assistant turn.")
    for number, message in enumerate(messages, 1):
        turn = f"{where}, message {number}"
        if not isinstance(message, dict) or "role" not in message:
            keys = list(message) if isinstance(message, dict) else []
            raise DataError(
                f"{turn} must be an object with 'role' and 'content'; its keys are: {', '.join(keys) or 'none'}."
            )
        role = message["role"]
        if role not in ROLES:
            raise DataError(f"{turn} has the role {role!r}. {near(str(role), ROLES)}")
        if "content" not in message and not message.get("tool_calls"):
            raise DataError(f"{turn} lacks 'content'; its keys are: {', '.join(map(str, message))}.")
        content = message.get("content")
        if not isinstance(content, str) and not (content is None and message.get("tool_calls")):
            raise DataError(f"{turn}: 'content' must be text, but it is {name_of(content)}.")
        check_text(content, f"{turn}: 'content'")
        if read_calls(message.get("tool_calls"), turn) and role != "assistant":
            raise DataError(f"{turn} has 'tool_calls', but only the assistant calls functions; its role is {role!r}.")
    if not any(message["role"] == "assistant" for message in messages):
        raise DataError(f"{where} has no assistant message, so there is nothing to learn from it.")
