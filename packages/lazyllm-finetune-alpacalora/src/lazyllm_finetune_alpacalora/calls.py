"""Function calls in chats: what they must look like, and the one form in which they are rendered."""

from __future__ import annotations

import json
from typing import Any

from lazyllm.errors import DataError

from .values import check_text, name_of

Call = dict[str, Any]
FORM = '{"type": "function", "function": {"name": "…", "arguments": {…}}}'


def check_tools(tools: Any, where: str) -> None:
    """Refuse `tools` that are no list of objects; None is none."""
    if tools is None:
        return
    if not isinstance(tools, list):
        raise DataError(f"{where}: 'tools' must be a list of tools, but it is {name_of(tools)}.")
    for number, tool in enumerate(tools, 1):
        if not isinstance(tool, dict):
            raise DataError(f"{where}: tool {number} must be an object, but it is {name_of(tool)}.")
    check_text(json.dumps(tools, ensure_ascii=False), f"{where}: 'tools'")


def read_calls(calls: Any, where: str) -> list[Call]:
    """Return a message's `tool_calls`, each as `FORM`: arguments that are JSON text become the object they stand for.

    Args:
        where: names the message in errors.

    Raises:
        DataError: something is no call.
    """
    if not calls:
        return []
    if not isinstance(calls, list):
        raise DataError(f"{where}: 'tool_calls' must be a list of calls, but it is {name_of(calls)}.")
    return [_call(call, f"{where}, call {number}") for number, call in enumerate(calls, 1)]


def _call(call: Any, where: str) -> Call:
    if not isinstance(call, dict):
        raise DataError(f"{where} must be an object, but it is {name_of(call)}.", hint=f"A call is {FORM}.")
    wrapped = "function" in call
    function = call["function"] if wrapped else {key: call[key] for key in ("name", "arguments") if key in call}
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or not name:
        raise DataError(f"{where} names no function.", hint=f"A call is {FORM}.")
    arguments = _arguments(function.get("arguments"), where)
    check_text(name + json.dumps(arguments, ensure_ascii=False), where)
    rest = {key: value for key, value in call.items() if wrapped or key not in function}
    return {**rest, "type": "function", "function": {**function, "arguments": arguments}}


def _arguments(given: Any, where: str) -> dict[str, Any]:
    if given is None or given == "":
        return {}
    value = given
    if isinstance(given, str):
        try:
            value = json.loads(given)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: 'arguments' is text that is no JSON ({error}): {given[:60]!r}.") from None
    if not isinstance(value, dict):
        raise DataError(f"{where}: 'arguments' must be an object, or one as JSON text, but it is {name_of(value)}.")
    return value


def ready(messages: list[dict[str, Any]], *, as_text: bool = False) -> list[dict[str, Any]]:
    """Return messages as an engine hands them to a chat template: text as content, calls as `read_calls` gives them.

    `as_text`: the template wants the arguments as JSON text.
    """
    return [_ready(message, as_text) if "tool_calls" in message else message for message in messages]


def _ready(message: dict[str, Any], as_text: bool) -> dict[str, Any]:
    read = {**message, "content": message.get("content") or ""}
    calls = read_calls(read.pop("tool_calls"), "a message")
    if as_text:
        for call in calls:
            call["function"]["arguments"] = json.dumps(call["function"]["arguments"], ensure_ascii=False)
    return {**read, "tool_calls": calls} if calls else read
