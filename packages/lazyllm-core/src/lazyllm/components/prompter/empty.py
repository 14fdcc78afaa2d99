"""A prompter that adds nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import PromptError
from .base import LazyLLMPrompterBase
from .history import history_messages
from .user_input import input_messages


class EmptyPrompter(LazyLLMPrompterBase):
    """Hands the input on as it is; for a chat API, as the last message behind the history."""

    def __init__(self, show: bool = False, tools: Any = None, history: Any = None) -> None:
        super().__init__(show, tools, history)
        self._init_prompt("{input}", "")

    def _make_prompt(self, given: Any, turns: Sequence[Any], tools: Any, label: Any, return_dict: bool) -> Any:
        if return_dict:
            if isinstance(given, dict) and "messages" in given:
                return _added(given, turns, tools)
            asked = [{"role": "user", "content": given}] if isinstance(given, (str, dict)) else input_messages(given)
            messages = history_messages(turns) + asked
            return {"messages": messages, "tools": tools} if tools else {"messages": messages}
        if turns or tools:
            raise PromptError(
                "An EmptyPrompter has no place for a history or tools in a string.", hint="ChatPrompter has."
            )
        return f"{given}{label}" if isinstance(given, str) and label is not None else given


def _added(given: dict[str, Any], turns: Sequence[Any], tools: Any) -> dict[str, Any]:
    """Return the body of a chat API's request with the history before its messages, and with the tools."""
    body = given.copy()
    if turns:
        body["messages"] = history_messages(turns) + input_messages(given["messages"])
    if tools:
        if given.get("tools"):
            raise PromptError("Tools stand in the input and were given beside it; expected one of them.")
        body["tools"] = tools
    return body
