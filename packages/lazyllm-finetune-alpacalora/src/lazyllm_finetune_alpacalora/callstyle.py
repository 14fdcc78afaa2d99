"""What a chat template does with functions, told by letting it write a chat that has them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lazyllm.errors import DataError

from .chat import render

_NAME = "probe_of_this_template"
_VALUE = "value of the probe"
_ARGUMENTS = {"key": _VALUE}
_PARAMETERS = {
    "type": "object",
    "properties": {"key": {"type": "string", "description": "A key"}},
    "required": ["key"],
}
_TOOL = {"type": "function", "function": {"name": _NAME, "description": "A probe", "parameters": _PARAMETERS}}
_ASKED = [{"role": "user", "content": "hello"}]


@dataclass(frozen=True, slots=True)
class Style:
    """What a template does: `shows` a chat's tools, `writes` its calls, wants their arguments `as_text`."""

    shows: bool
    writes: bool
    as_text: bool


class Styles:
    """The styles of a tokenizer's chat template, found when first asked for.

    Some models have a template of their own for chats with tools, so there are two.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._found: dict[bool, Style] = {}

    def of(self, record: dict[str, Any]) -> Style:
        """Return the style in which this record's chat is rendered."""
        tools = bool(record.get("tools"))
        if tools not in self._found:
            self._found[tools] = self._find(tools)
        return self._found[tools]

    def _find(self, tools: bool) -> Style:
        shows = _NAME in self._render(_ASKED, tools)
        # objects come first: most templates write them as JSON themselves, and would quote text once more
        for arguments in (_ARGUMENTS, json.dumps(_ARGUMENTS)):
            calls = [{"id": "probe0001", "type": "function", "function": {"name": _NAME, "arguments": arguments}}]
            call = {"role": "assistant", "content": "", "tool_calls": calls}
            result = {"role": "tool", "tool_call_id": "probe0001", "name": _NAME, "content": "done"}
            text = self._render([*_ASKED, call, result], tools) or self._render([*_ASKED, call], tools)
            if text and str(_ARGUMENTS) not in text:
                return Style(shows, _VALUE in text, isinstance(arguments, str))
        return Style(shows, writes=True, as_text=False)  # not known: the record itself will tell

    def _render(self, messages: list[dict[str, Any]], tools: bool) -> str:
        try:
            return render(self._tokenizer, {"tools": [_TOOL]} if tools else {}, messages)
        except DataError:
            return ""


def check_functions(tokenizer: Any, chats: Iterable[tuple[str, dict[str, Any]]]) -> None:
    """Refuse chats whose calls or tools the tokenizer's chat template leaves out: it would be learnt to do without.

    Args:
        chats: where each record stands, and the record.
    """
    styles = Styles(tokenizer)
    for where, record in chats:
        if record.get("tools") and not styles.of(record).shows:
            raise DataError(
                f"{where} has tools, but the model's chat template does not show them to the model.",
                hint=f"{_REMEDY} 'tools' out of the records.",
            )
        calls = [at for at, message in enumerate(record["messages"], 1) if message.get("tool_calls")]
        if calls and not styles.of(record).writes:
            raise DataError(
                f"{where}, message {calls[0]} calls functions, but the model's chat template has no place for "
                "tool_calls: the model would learn to answer nothing there.",
                hint=f"{_REMEDY} such records out.",
            )


_REMEDY = "Take a base model whose chat template has function calls, or leave"
