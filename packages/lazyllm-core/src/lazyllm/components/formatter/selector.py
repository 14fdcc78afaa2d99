"""A selector says what of a formatter's data to take: one bracket a level.

[:] [a:b:c]     the items of a list (or all values of an object), and what follows is taken of each
[0] [title]     one item of a list, one key of an object
[0,2] [a,b]     several of them as a list, and what follows is taken of each
{a,b} {:}       the object with these keys only, and what follows is taken of each of its values
*…              in front: the result is a package, to be spread over the next call's arguments
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ...common.package import package
from ...errors import SelectorError, near

_LEVEL = re.compile(r"\s*(?:\[([^\[\]{}]*)\]|\{([^\[\]{}]*)\})")
_DEEPEST = 100
_EXPECTED = "One bracket a level: [:], [a:b:c], [0], [0,2], [key], [a,b] or {a,b}, with a * in front for a package."


@dataclass(frozen=True)
class _Level:
    """One bracket: a slice, or names of which one or several are wanted."""

    text: str
    names: tuple[str, ...] = ()
    part: slice | None = None
    as_object: bool = False

    @property
    def many(self) -> bool:
        return self.part is not None or self.as_object or len(self.names) > 1

    def take(self, data: Any) -> Any:
        """Return what this bracket selects; the SelectorError for data that does not fit leaves out where that is."""
        if self.as_object:
            if not isinstance(data, dict):
                raise self._misfit(data, "an object")
            return {name: self._one(data, name) for name in self.names} if self.names else data
        if self.part is not None:
            if isinstance(data, dict) and self.part == slice(None):
                return list(data.values())
            if not isinstance(data, (list, tuple)):
                raise self._misfit(data, "a list")
            return data[self.part]
        if len(self.names) == 1:
            return self._one(data, self.names[0])
        return [self._one(data, name) for name in self.names]

    def _one(self, data: Any, name: str) -> Any:
        if isinstance(data, dict):
            if name in data:
                return data[name]
            raise SelectorError(f"has no key {name!r}. {near(name, [str(key) for key in data][:20])}")
        if not isinstance(data, (list, tuple)):
            raise self._misfit(data, "a list or an object")
        if not re.fullmatch(r"-?[0-9]{1,9}", name):
            raise self._misfit(data, f"an object with the key {name!r}")
        if not -len(data) <= int(name) < len(data):
            raise SelectorError(f"has no item {name}: the list has {len(data)}.")
        return data[int(name)]

    def _misfit(self, data: Any, expected: str) -> SelectorError:
        kinds = {
            dict: "an object", list: "a list", str: "a string", bool: "true or false", int: "a number",
            float: "a number", type(None): "null",
        }  # fmt: skip
        return SelectorError(f"is {kinds.get(type(data), f'a {type(data).__name__}')}; {self.text} needs {expected}.")


class Selector:
    """A selector's text, parsed. Nothing is evaluated; a bad text is refused here.

    Raises:
        SelectorError: the text is no selector.
    """

    def __init__(self, text: str | None) -> None:
        if not isinstance(text, str | None):
            raise SelectorError(f"A selector is text, not {type(text).__name__}.", hint=_EXPECTED)
        body = (text or "").strip()
        self._spread = body.startswith("*")
        self._levels = tuple(_levels(body[self._spread :]))
        if self._spread and not self._levels:
            raise SelectorError("The selector '*' has no bracket behind its star.", hint=_EXPECTED)

    def __call__(self, data: Any) -> Any:
        """Return what is selected of `data`.

        Raises:
            SelectorError: the data has no such place; the message names it.
        """
        found = self._take(data, 0, None)
        if not self._spread:
            return found
        return package(found) if isinstance(found, (list, tuple)) else package((found,))

    def _take(self, data: Any, depth: int, key: Any) -> Any:
        """Select from `data`; `key` is its place in what the level before selects, if that was several."""
        if depth == len(self._levels):
            return data
        level = self._levels[depth]
        try:
            found = level.take(data)
        except SelectorError as error:
            raise SelectorError(f"{self._where(depth, key)} {error.message}") from None
        following = depth + 1
        if not level.many or following == len(self._levels):
            return self._take(found, following, None)
        if isinstance(found, dict):
            return {name: self._take(value, following, name) for name, value in found.items()}
        return [self._take(value, following, place) for place, value in enumerate(found)]

    def _where(self, depth: int, key: Any) -> str:
        if not depth:
            return "The answer's data"
        place = "".join(level.text for level in self._levels[:depth])
        return f"What {place} selects" if key is None else f"Item {key!r} of what {place} selects"


def _levels(text: str) -> list[_Level]:
    levels: list[_Level] = []
    place = 0
    while place < len(text):
        found = _LEVEL.match(text, place)
        if found is None:
            raise SelectorError(
                f"The selector {text!r:.80} cannot be read from {text[place:]!r:.40} on.", hint=_EXPECTED
            )
        levels.append(_level(found[0].strip(), found[1] if found[1] is not None else found[2], found[1] is None))
        place = found.end()
    if len(levels) > _DEEPEST:
        raise SelectorError(f"The selector has {len(levels)} levels; at most {_DEEPEST} are read.")
    return levels


def _level(text: str, inside: str, as_object: bool) -> _Level:
    if as_object and inside.strip() == ":":
        return _Level(text, as_object=True)
    if ":" in inside and not as_object:
        return _Level(text, part=_slice(text, inside))
    names = tuple(name.strip() for name in inside.split(","))
    if not all(names) or ":" in inside or any(c in name for name in names for c in "*\"'"):
        raise SelectorError(f"The selector's bracket {text!r:.80} cannot be read.", hint=_EXPECTED)
    return _Level(text, names, as_object=as_object)


def _slice(text: str, inside: str) -> slice:
    bounds = [bound.strip() for bound in inside.split(":")]
    if len(bounds) > 3 or not all(re.fullmatch(r"(-?[0-9]{1,9})?", bound) for bound in bounds):
        raise SelectorError(f"The selector's slice {text!r:.80} is not of the form [a:b:c] with whole numbers.")
    numbers = [int(bound) if bound else None for bound in bounds]
    if len(numbers) == 3 and numbers[2] == 0:
        raise SelectorError(f"The selector's slice {text!r} has the step 0.")
    return slice(*numbers)
