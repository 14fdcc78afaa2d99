"""JsonFormatter: the JSON in a model's answer."""

from __future__ import annotations

from typing import Any

from ...errors import FormatError
from .base import LazyLLMFormatterBase
from .json_text import find_json
from .selector import Selector


class JsonFormatter(LazyLLMFormatterBase):
    """Finds the JSON objects and arrays in an answer and selects from them.

    One value is returned as it is, several as a list, in their order; prose and Markdown fences around them do not
    matter. A citation such as `[1]` is an array, too: ask the model for the JSON alone where answers cite.

    Args:
        selector: what to take of the data, see `selector.py`: `[0]`, `[:][title]`, `[a,b]`, `{a,b}`, `*[a,b]` …

    Raises:
        SelectorError: at construction, a selector that cannot be read; when formatting, one that does not fit the data.
        FormatError: when formatting, no JSON was found in the answer.
    """

    def __init__(self, selector: str | None = None) -> None:
        self._formatter = selector
        self._parse_formatter()

    def _parse_formatter(self) -> None:
        self._select = Selector(self._formatter)

    def _load(self, msg: str) -> Any:
        values = find_json(msg)
        if not values:
            start = f"It begins {msg[:80]!r}" if msg.strip() else "It is empty"
            raise FormatError(f"There is no JSON object or array in the answer. {start}.")
        return values[0] if len(values) == 1 else values

    def _parse_py_data_by_formatter(self, py_data: Any) -> Any:
        return self._select(py_data)
