"""Find the JSON in a text, in time that is linear in the text's length.

What counts: from left to right, each `{` or `[` that begins a valid JSON object or array is taken up to its end, and
the search goes on behind it. A bracket that begins none is prose. Numbers and strings outside brackets are prose too.
"""

from __future__ import annotations

import json
import re
from typing import Any

DEEPEST = 900
"""Levels of nesting that a found value may have: about what `json.loads` reads under Python's recursion limit."""

_OPENING = re.compile(r"""\{(?=[ \t\n\r]*+["}])|\[(?=[ \t\n\r]*+[\[\]{"0-9tfnNI-])""")
"""A bracket that JSON may begin with: what follows it is the start of a key or a value, or the end."""
_DECODE = json.JSONDecoder().raw_decode


def find_json(text: str) -> list[Any]:
    """Return every outermost JSON object and array in `text`, in order.

    Strings, numbers, NaN and duplicate keys are read as `json.loads` reads them. What nests too deep is left out.
    """
    values: list[Any] = []
    place, work = 0, 0
    while found := _OPENING.search(text, place):
        start = found.start()
        try:
            value, place = _DECODE(text, start)
        except RecursionError:
            return values + _Scanner(text).values(start)
        except ValueError as error:
            # Each miss reads to the error and counts lines up to it: many of them would be quadratic.
            work += 64 + _cost(error, start, len(text))
            if work > 2 * len(text) + 4096:
                return values + _Scanner(text).values(start)
            place = start + 1
        else:
            values.append(value)
    return values


def _cost(error: ValueError, start: int, length: int) -> int:
    """Return about how many characters a failed decoding at `start` has read."""
    if not isinstance(error, json.JSONDecodeError) or error.msg.startswith("Unterminated"):
        return length - start
    return error.pos - start + error.pos // 64


_TOKEN = re.compile(
    r"""[ \t\n\r]*+(?:
        ([\[{\]},:])
      | ("[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+")
      | (-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][-+]?[0-9]++)?+)
      | (true|false|null|NaN|-?Infinity)
    )""",
    re.VERBOSE,
)
_WORDS: dict[str, Any] = {
    "true": True,
    "false": False,
    "null": None,
    "NaN": float("nan"),
    "Infinity": float("inf"),
    "-Infinity": float("-inf"),
}
_VALUE, _FIRST_VALUE, _KEY, _FIRST_KEY, _COLON, _NEXT = range(6)


class _Scanner:
    """Reads JSON with a stack of brackets and remembers the fate of each bracket that it met.

    A wrong token ends all brackets that are open, at once; so no stretch of text is read more than twice:
    once as it stands, and once more where the first reading took it for the inside of a string.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._fate: dict[int, tuple[int, Any, int] | None] = {}

    def values(self, place: int) -> list[Any]:
        """Return the outermost values from `place` on."""
        values: list[Any] = []
        while found := _OPENING.search(self._text, place):
            start = found.start()
            if start not in self._fate:
                self._read(start)
            fate = self._fate[start]
            place = start + 1
            if fate is not None:
                place, value, height = fate
                if height <= DEEPEST:
                    values.append(value)
        return values

    def _read(self, start: int) -> None:
        """Read from the bracket at `start` until it closes or a token is wrong."""
        text, fates, match = self._text, self._fate, _TOKEN.match
        # The open brackets: which, where, what each holds (made when it is needed), its levels, its latest key.
        kinds: list[str] = []
        starts: list[int] = []
        boxes: list[Any] = []
        heights: list[int] = []
        keys: list[str] = []
        place, expected = start, _VALUE
        while found := match(text, place):
            place, sort = found.end(), found.lastindex
            token: str = found[sort or 0]
            value: Any = None
            height = 0
            if sort == 1:
                if token in "[{":
                    if expected > _FIRST_VALUE:
                        break
                    opening = place - 1
                    if opening not in fates:
                        kinds.append(token)
                        starts.append(opening)
                        boxes.append(None)
                        heights.append(1)
                        keys.append("")
                        expected = _FIRST_VALUE if token == "[" else _FIRST_KEY
                        continue
                    if (fate := fates[opening]) is None:
                        break
                    place, value, height = fate
                elif token == ",":
                    if expected != _NEXT:
                        break
                    expected = _VALUE if kinds[-1] == "[" else _KEY
                    continue
                elif token == ":":
                    if expected != _COLON:
                        break
                    expected = _VALUE
                    continue
                else:
                    opened, first = ("[", _FIRST_VALUE) if token == "]" else ("{", _FIRST_KEY)
                    if kinds[-1] != opened or expected not in (_NEXT, first):
                        break
                    value, height = boxes.pop(), heights.pop()
                    if value is None:
                        value = [] if opened == "[" else {}
                    kinds.pop(), keys.pop()
                    fates[starts.pop()] = (place, value, height)
                    if not kinds:
                        return
            elif expected in (_KEY, _FIRST_KEY):
                if sort != 2:
                    break
                keys[-1] = _string(token)
                expected = _COLON
                continue
            elif expected > _FIRST_VALUE:
                break
            elif sort == 2:
                value = _string(token)
            elif sort == 4:
                value = _WORDS[token]
            else:
                try:
                    value = int(token) if token.lstrip("-").isdigit() else float(token)
                except ValueError:  # more digits than Python turns into an integer
                    break
            if (box := boxes[-1]) is None:
                box = boxes[-1] = [] if kinds[-1] == "[" else {}
            if kinds[-1] == "[":
                box.append(value)
            else:
                box[keys[-1]] = value
            if height >= heights[-1]:
                heights[-1] = height + 1
            expected = _NEXT
        fates.update(dict.fromkeys(starts))


def _string(token: str) -> str:
    return token[1:-1] if "\\" not in token else json.loads(token)
