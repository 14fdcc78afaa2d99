"""What a chat template does with functions, found out once by letting it write a conversation that has them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .protocol.errors import ApiError
from .toolcalls import Format

HERMES = Format("<tool_call>", "</tool_call>")
MISTRAL = Format("[TOOL_CALLS]", id_length=9)
LLAMA = Format("<|python_tag|>", bare=True)

_NAME = "probe_of_this_template"
_VALUE = "value of the probe"
_ARGUMENTS = {"key": _VALUE}
_TOOL = {
    "type": "function",
    "function": {
        "name": _NAME,
        "description": "A probe",
        "parameters": {
            "type": "object",
            "properties": {"key": {"type": "string", "description": "A key"}},
            "required": ["key"],
        },
    },
}
_HERMES = re.compile(r'<tool_call>\s*\{\s*"name".*?</tool_call>', re.DOTALL)
_MISTRAL = re.compile(r"\[TOOL_CALLS\]\s*\[\s*\{")
_LLAMA = re.compile(rf'\s*\{{(\s*"type"\s*:\s*"function"\s*,)?\s*"name"\s*:\s*"{_NAME}"\s*,\s*"parameters"\s*:')

Messages = list[dict[str, Any]]
Render = Callable[[Messages, list[dict[str, Any]] | None], str]


@dataclass(frozen=True, slots=True)
class ToolStyle:
    """What a template does: `shows` descriptions to the model, `writes` the calls of earlier answers.

    `format` is how the model writes its own calls, None where that is not known. `as_text`: the template wants the
    arguments of earlier calls as JSON text.
    """

    shows: bool = False
    writes: bool = False
    format: Format | None = None
    as_text: bool = False


def find_style(render: Render) -> ToolStyle:
    """Return the style of a template that `render` applies to messages and descriptions."""

    def attempt(messages: Messages, tools: list[dict[str, Any]] | None = None) -> str:
        try:
            return render(messages, tools)
        except Exception:  # templates are programs of the model's author and raise what they like
            return ""

    asked: Messages = [{"role": "user", "content": "hello"}]
    shown = attempt(asked, [_TOOL])
    shows = _NAME in shown
    tools = [_TOOL] if shows else None  # some models have a template of their own for conversations with tools
    before = shown if shows else attempt(asked)
    called, as_text = _called(lambda messages: attempt(messages, tools), asked)
    # what stands where the answer begins is the model's own; the descriptions may hold an example as well
    own = called[len(before) :] if before and called.startswith(before) else ""
    form = None
    if any(_HERMES.search(text) for text in (called, shown)):
        form = HERMES
    elif any(_MISTRAL.search(text) for text in (called, shown)):
        form = MISTRAL
    elif _LLAMA.match(own):
        form = LLAMA
    return ToolStyle(shows, _VALUE in called or not called, form, as_text)


def _called(attempt: Callable[[Messages], str], asked: Messages) -> tuple[str, bool]:
    """Return a conversation with a call as the template writes it, and whether it wants the arguments as text.

    Objects come first: most templates write them as JSON themselves, and would quote text once more.
    """
    for arguments in (_ARGUMENTS, json.dumps(_ARGUMENTS)):
        calls = [{"id": "probe0001", "type": "function", "function": {"name": _NAME, "arguments": arguments}}]
        call: dict[str, Any] = {"role": "assistant", "content": "", "tool_calls": calls}
        result = {"role": "tool", "tool_call_id": "probe0001", "name": _NAME, "content": "done"}
        text = attempt([*asked, call, result]) or attempt([*asked, call])
        if text and str(_ARGUMENTS) not in text:
            return text, isinstance(arguments, str)
    return "", False


def check_tools(style: ToolStyle) -> None:
    """Raise a 400 where the model is not shown the tools, or where its calls would not be understood."""
    if not style.shows:
        raise ApiError(
            "This model's chat template has no place for tools: the model would not see them. Leave tools out.",
            param="tools",
            code="tools_not_supported",
        )
    if style.format is None:
        raise ApiError(
            "This model's chat template takes tools, but this server does not know the form in which the model writes "
            "its calls. chat_template_kwargs with the same tools shows them to the model and leaves its calls in the "
            "text.",
            param="tools",
            code="tools_not_supported",
        )


def fit_calls(messages: Messages, style: ToolStyle) -> Messages:
    """Return the messages with the arguments of calls as the template wants them.

    Raises:
        ApiError: the template leaves calls out.
    """
    if not any("tool_calls" in message for message in messages):
        return messages
    if not style.writes:
        raise ApiError(
            "This model's chat template has no place for tool_calls: the model would not see them.",
            param="messages",
            code="tools_not_supported",
        )
    if not style.as_text:
        return messages
    return [_with_text(message) if "tool_calls" in message else message for message in messages]


def _with_text(message: dict[str, Any]) -> dict[str, Any]:
    calls = []
    for call in message["tool_calls"]:
        arguments = json.dumps(call["function"]["arguments"], ensure_ascii=False)
        calls.append({**call, "function": {**call["function"], "arguments": arguments}})
    return {**message, "tool_calls": calls}
