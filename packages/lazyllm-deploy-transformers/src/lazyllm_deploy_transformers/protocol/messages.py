"""The messages of a chat request, as chat templates take them."""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import Any

from . import fields
from .errors import ApiError, brief

_ROLES = ("system", "developer", "user", "assistant", "tool")
_CALLING = ("tool_calls", "tool_call_id")


def read_messages(messages: Any) -> list[dict[str, Any]]:
    """Return the messages with text as content; the arguments of calls, which clients send as text, are objects.

    Raises:
        ApiError: something is no message; the error says where.
    """
    if not isinstance(messages, list) or not messages:
        raise ApiError("messages must be a list with at least one message.", param="messages")
    return [_message(m, f"messages[{i}]") for i, m in enumerate(messages)]


def _message(message: Any, where: str) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise ApiError(f"{where} must be an object with role and content.", param="messages")
    role = message.get("role")
    _refuse_lost(message, where)
    if role not in _ROLES:
        raise ApiError(
            f"{where}.role must be system, developer, user, assistant or tool, not {fields.shown(role)}.",
            param="messages",
        )
    read = dict(message)
    if role == "developer":
        read["role"] = "system"
    if message.get("content") is None and not (role == "assistant" and message.get("tool_calls")):
        more = " An answer has content or tool_calls." if role == "assistant" else ""
        raise ApiError(f"{where}.content is missing.{more}", param="messages")
    read["content"] = _content(message.get("content"), f"{where}.content")
    calls = read.pop("tool_calls", None)
    if calls:
        read["tool_calls"] = _calls(calls, role, f"{where}.tool_calls")
    if read.get("tool_call_id") is not None:
        fields.text(read["tool_call_id"], f"{where}.tool_call_id")
    return read


def _refuse_lost(message: dict[str, Any], where: str) -> None:
    """Refuse calls and results under names that no template reads; other names of its own a template may well have."""
    old = "role" if message.get("role") == "function" else "function_call"
    if message.get(old) is not None:
        raise ApiError(
            f"{where}.{old}: functions in the protocol's old form are not supported. Send calls as tool_calls, and "
            "their results with the role tool.",
            param=f"{where}.{old}",
            code="unsupported_parameter",
        )
    for name in message:
        meant = get_close_matches(name.lower()[:100], _CALLING, n=1, cutoff=0.8)
        if meant and name not in _CALLING:
            raise ApiError(
                f"{where} has the unknown field {brief(name)!r}. Did you mean {meant[0]!r}?",
                param=f"{where}.{brief(name)}",
                code="unknown_field",
            )


def _content(content: Any, where: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return fields.text(content, where)
    if not isinstance(content, list):
        raise ApiError(f"{where} must be a string or a list of text parts.", param="messages")
    parts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text":
            said = f"a part of type {fields.shown(kind)}" if isinstance(part, dict) else fields.shown(part)
            raise ApiError(f"{where} holds {said}; this server takes text only.", param="messages")
        parts.append(fields.text(part.get("text"), where))
    return "".join(parts)


def _calls(calls: Any, role: str, where: str) -> list[dict[str, Any]]:
    if role != "assistant":
        raise ApiError(f"{where}: only messages of the assistant hold calls.", param=where)
    if not isinstance(calls, list):
        raise fields.wrong(where, "a list of calls", calls)
    return [_call(call, f"{where}[{i}]") for i, call in enumerate(calls)]


def _call(call: Any, where: str) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise fields.wrong(where, 'an object {"id": …, "type": "function", "function": {…}}', call)
    fields.text(function.get("name"), f"{where}.function.name")
    arguments = _arguments(function.get("arguments"), f"{where}.function.arguments")
    return {**call, "type": "function", "function": {**function, "arguments": arguments}}


def _arguments(given: Any, where: str) -> dict[str, Any]:
    value = given
    if given is None or given == "":
        value = {}
    elif isinstance(given, str):
        try:
            value = json.loads(given)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, dict):
        raise fields.wrong(where, "a JSON object, written as a string", given)
    return value
