"""The fields of a chat request that offer functions to the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import fields
from .errors import ApiError

TOOL_FIELDS = frozenset({"tools", "tool_choice", "parallel_tool_calls"})


@dataclass(frozen=True, slots=True)
class Offered:
    """Functions that the model may call, as the request describes them; `parallel`: several in one answer."""

    described: list[dict[str, Any]]
    parallel: bool = True

    @property
    def names(self) -> list[str]:
        return [tool["function"]["name"] for tool in self.described]


def read_tools(body: Mapping[str, Any]) -> Offered | None:
    """Return what a request offers, None for nothing: with tool_choice "none" the model is not shown the tools.

    Raises:
        ApiError: descriptions that are none, or a call that would have to be forced.
    """
    tools = body.get("tools")
    if not isinstance(tools, list | None):
        raise fields.wrong("tools", "a list of functions", tools)
    described = [_tool(tool, f"tools[{i}]") for i, tool in enumerate(tools or ())]
    parallel = fields.flag(body, "parallel_tool_calls", True)
    choice = body.get("tool_choice")
    if choice is not None and not (isinstance(choice, str) and choice in ("auto", "none")):
        raise ApiError(
            f"tool_choice must be 'auto' or 'none', not {fields.shown(choice)}: this server leaves it to the model "
            "whether and what it calls.",
            param="tool_choice",
            code="unsupported_parameter",
        )
    return Offered(described, parallel) if described and choice != "none" else None


def _tool(tool: Any, where: str) -> dict[str, Any]:
    if not isinstance(tool, dict):
        raise fields.wrong(where, 'an object {"type": "function", "function": {…}}', tool)
    if tool.get("type") != "function":
        raise fields.wrong(f"{where}.type", "'function'", tool.get("type"))
    function = tool.get("function")
    if not isinstance(function, dict):
        raise fields.wrong(f"{where}.function", "an object with a name", function)
    if not fields.text(function.get("name"), f"{where}.function.name"):
        raise fields.wrong(f"{where}.function.name", "the function's name", "")
    if function.get("description") is not None:
        fields.text(function["description"], f"{where}.function.description")
    if not isinstance(function.get("parameters"), dict | None):
        raise fields.wrong(f"{where}.function.parameters", "a JSON schema (an object)", function["parameters"])
    if function.get("strict"):
        raise ApiError(
            f"{where}.function.strict is not supported: the arguments are as the model writes them, nothing here holds "
            "them to the schema. Leave strict out.",
            param=f"{where}.function.strict",
            code="unsupported_parameter",
        )
    return tool
