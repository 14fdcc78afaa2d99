"""What every formatter is, the one that changes nothing, and chains of them."""

from __future__ import annotations

from typing import Any

from ...common.package import package
from ...registry import Registered


class LazyLLMFormatterBase(Registered):
    """Makes a value of a model's answer.

    Override `_parse_py_data_by_formatter` (data in, data out) and, where an answer's text must be read first, `_load`.
    A formatter is called like a function, chains with others by `|`, and a module takes one with `.formatter(f)`:

        class LinesFormatter(FormatterBase):
            def _load(self, msg):
                return msg.splitlines()

            def _parse_py_data_by_formatter(self, py_data):
                return [line.strip() for line in py_data if line.strip()]
    """

    def _load(self, msg: str) -> Any:
        """Return the data that is in the answer's text."""
        return msg

    def _parse_formatter(self) -> None:
        """Read what the formatter was made with. For subclasses that take a selector; they call it themselves."""

    def _parse_py_data_by_formatter(self, py_data: Any) -> Any:
        """Return what the caller gets of the loaded data."""
        raise NotImplementedError(f"{type(self).__name__} does not override _parse_py_data_by_formatter(py_data).")

    def format(self, msg: Any) -> Any:
        """Return the formatted answer. A string is loaded first; anything else is taken as loaded."""
        return self._parse_py_data_by_formatter(self._load(msg) if isinstance(msg, str) else msg)

    def __call__(self, *msg: Any) -> Any:
        """Format one value; several arguments are formatted as one package."""
        return self.format(msg[0] if len(msg) == 1 else package(msg))

    def __or__(self, other: Any) -> LazyLLMFormatterBase:
        """Return a formatter that gives this one's result to `other`."""
        if not isinstance(other, LazyLLMFormatterBase):
            return NotImplemented
        return _Chain(*_links(self), *_links(other))


FormatterBase = LazyLLMFormatterBase


class EmptyFormatter(LazyLLMFormatterBase):
    """Hands the answer on as it is: every module's default."""

    def _parse_py_data_by_formatter(self, py_data: Any) -> Any:
        return py_data


class _Chain(LazyLLMFormatterBase):
    """Formatters in a row, each given the result of the one before."""

    def __init__(self, *links: LazyLLMFormatterBase) -> None:
        self._chained = links

    def format(self, msg: Any) -> Any:
        first, *others = self._chained
        msg = first.format(msg)
        for formatter in others:
            msg = formatter(*msg) if isinstance(msg, package) else formatter(msg)
        return msg


def _links(formatter: LazyLLMFormatterBase) -> tuple[LazyLLMFormatterBase, ...]:
    return formatter._chained if isinstance(formatter, _Chain) else (formatter,)
