"""Text with named slots, cut into pieces once and joined at each use."""

from __future__ import annotations

import re
from collections.abc import Mapping

SLOT = re.compile(r"\{(\w+)\}")


class Template:
    """Text in which `{name}` is a slot and every other brace is a brace.

    A value put into a slot is never looked at again: braces in it stay as they are.
    """

    __slots__ = ("_holes", "_parts", "names")

    def __init__(self, text: str) -> None:
        self._cut(SLOT.split(text))

    def _cut(self, parts: list[str]) -> None:
        """Take literal and name in turn, beginning and ending with a literal."""
        self._parts = parts
        self._holes = [(place, parts[place]) for place in range(1, len(parts), 2)]
        self.names = tuple(dict.fromkeys(parts[1::2]))

    def bind(self, values: Mapping[str, str]) -> Template:
        """Return a template in which the named slots are filled for good; unknown names are of no account."""
        parts = self._parts[:1]
        for name, literal in zip(self._parts[1::2], self._parts[2::2], strict=True):
            if name in values:
                parts[-1] += values[name] + literal
            else:
                parts += (name, literal)
        bound = Template("")
        bound._cut(parts)
        return bound

    def fill(self, values: Mapping[str, str]) -> str:
        """Return the text with every slot filled."""
        if not self._holes:
            return self._parts[0]
        parts = self._parts.copy()
        for place, name in self._holes:
            parts[place] = values[name]
        return "".join(parts)
