"""The descriptions of tools that a model may call."""

from __future__ import annotations

from typing import Any

from ...errors import PromptError
from .history import as_json


def check_tools(tools: Any) -> list[Any] | None:
    """Return the tools as a new list, None for none."""
    if not tools:
        return None
    if not isinstance(tools, (list, tuple)) or not all(isinstance(tool, dict) for tool in tools):
        raise PromptError(f"Tools are a list of dicts that describe a function each, not {tools!r:.80}.")
    return list(tools)


def tools_text(tools: list[Any] | None) -> str:
    """Return the tools as they stand in a prompt, "" for none."""
    return f"### Function-call Tools. \n\n{as_json(tools, 'The description of the tools')}\n\n" if tools else ""
