"""A model's function calls, read out of its text as it comes."""

from __future__ import annotations

import json
import re
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .protocol.responses import ToolCall

_SPACE = re.compile(r"\s*")
_FIRST = ("{", "[", "")
_GAP = re.compile(r"[\s;]*")
_QUOTE = re.compile(r'\\.|"', re.DOTALL)
_ALPHABET = string.ascii_letters + string.digits
_MOST_BROKEN = 100


@dataclass(frozen=True, slots=True)
class Format:
    """How a model writes calls: as JSON from `opening` to `closing`, or to the answer's end where that is empty.

    `bare`: an answer may also be a call without any mark. `id_length`: where the model's template takes ids of that
    many letters and digits only.
    """

    opening: str
    closing: str = ""
    bare: bool = False
    id_length: int | None = None

    def new_id(self) -> str:
        """Return an id for one more call."""
        if self.id_length:
            return "".join(secrets.choice(_ALPHABET) for _ in range(self.id_length))
        return f"call_{secrets.token_hex(12)}"


class CallReader:
    """Takes an answer's text in pieces and tells calls from what is said.

    Text is held back from where a call may begin. Whitespace before a call is dropped; what looks like a call but is
    none stays text, and all that follows a hundred of those: such a model repeats itself. Without `parallel`, the
    answer is over (`done`) with its first call. `count`: calls so far.
    """

    def __init__(self, form: Format, names: Sequence[str] = (), *, parallel: bool = True) -> None:
        self.count = 0
        self.done = False
        self._form = form
        self._parallel = parallel
        self._broken = 0
        self._bare = _beginnings(names) if form.bare else ()
        self._held = ""
        self._mark: str | None = None  # what opened the call that `_held` begins with, None outside of calls
        self._gap = ""  # whitespace before that call
        self._seen = 0  # how far the call was searched for its end
        self._quoted = False  # whether a JSON string goes on there

    def push(self, text: str) -> tuple[str, list[ToolCall]]:
        """Return the text that is certain to be none of a call, and the calls that are complete."""
        return self._read(self._held + text, last=False)

    def flush(self) -> tuple[str, list[ToolCall]]:
        """Return what is left at the answer's end."""
        return self._read(self._held, last=True)

    def _read(self, text: str, last: bool) -> tuple[str, list[ToolCall]]:
        """Return what is certain of `text` and hold the rest; `last`: nothing more comes, so nothing is held."""
        said: list[str] = []
        calls: list[ToolCall] = []
        at = 0
        if self.done or (self._bare and self._mark is None and self._undecided(text, last)):
            self._held = "" if self.done else text
            return "", []
        while True:
            if self._mark is None:
                start = text.find(self._form.opening, at) if self._broken < _MOST_BROKEN else -1
                if start < 0:
                    break
                before = text[at:start]
                said.append(before.rstrip())
                self._gap = before[len(said[-1]) :]
                self._open(self._form.opening, start)
                at = start
            body = at + len(self._mark or "")
            # anything but JSON is no call: text that only mentions the mark is not held up
            first = _SPACE.match(text, body).end()  # type: ignore[union-attr]
            likely = text[first : first + 1] in _FIRST
            end = self._end(text) if likely else None
            if likely and end is None and not last:
                break
            mark, self._mark = str(self._mark), None
            found = read_calls(text, body, len(text) if end is None else end) if likely else None
            if found is None:
                self._broken += likely
                said.append(self._gap + mark)
                at += len(mark)
                continue
            if not self._parallel:
                found, self.done = found[:1], True
            calls += [ToolCall(self.count + i, self._form.new_id(), *call) for i, call in enumerate(found)]
            self.count += len(found)
            at = len(text) if end is None or self.done else end + len(self._form.closing)
        self._seen -= at
        stays = 0 if self._mark is not None else len(text) - at if last else self._certain(text[at:])
        said.append(text[at : at + stays])
        self._held = text[at + stays :]
        if last and self.count and said[-1].isspace():
            said.pop()
        return "".join(said), calls

    def _open(self, mark: str, start: int) -> None:
        self._mark = mark
        self._seen = start + len(mark)
        self._quoted = False

    def _end(self, text: str) -> int | None:
        """Return where the call's closing mark is: the first that stands in no JSON string."""
        closing = self._form.closing
        while closing:
            end = text.find(closing, self._seen)
            if end < 0:
                return None
            for quote in _QUOTE.finditer(text, self._seen, end):
                self._quoted ^= quote[0] == '"'
            self._seen = end
            if not self._quoted:
                return end
            self._seen += len(closing)
        return None

    def _certain(self, text: str) -> int:
        """Return how much of `text` comes before whitespace and a piece of the mark at its end."""
        opening = self._form.opening
        for length in range(min(len(opening) - 1, len(text)), 0, -1):
            if text.endswith(opening[:length]):
                text = text[:-length]
                break
        return len(text.rstrip())

    def _undecided(self, text: str, last: bool) -> bool:
        """Return whether an answer that has just begun may still turn out to be a call without a mark."""
        plain = "".join(text.split())
        if not last and any(b.startswith(plain) and b != plain for b in self._bare):
            return True
        if plain.startswith(self._bare):
            self._open("", 0)
        self._bare = ()
        return False


def _beginnings(names: Sequence[str]) -> tuple[str, ...]:
    """Return how a call of one of `names` begins, without the whitespace."""
    heads = ('{"name":', '{"type":"function","name":', '{"function":')
    return tuple(head + "".join(json.dumps(name, ensure_ascii=False).split()) for head in heads for name in names)


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


# not strict: models write line breaks into strings
_JSON = json.JSONDecoder(strict=False, parse_constant=_no_number)


def read_calls(text: str, start: int, end: int) -> list[tuple[str, str]] | None:
    """Return name and arguments of each call in `text[start:end]`, None if that is not calls and nothing else."""
    found = []
    try:
        while (start := _GAP.match(text, start, end).end()) < end:  # type: ignore[union-attr]
            value, start = _JSON.raw_decode(text, start)
            if start > end:
                return None
            found += [_call(item) for item in (value if isinstance(value, list) else [value])]
    except (ValueError, TypeError, RecursionError):
        return None
    return found or None


def _call(value: Any) -> tuple[str, str]:
    if not isinstance(value, dict):
        raise TypeError("a call is an object")
    name = value.get("name", value.get("function"))
    arguments = value.get("arguments", value.get("parameters"))
    if isinstance(arguments, str):
        arguments = _JSON.decode(arguments)
    if not isinstance(name, str) or not name or not isinstance(arguments, dict | None):
        raise TypeError("a call has a name, and arguments that are an object")
    name.encode()
    written = json.dumps(arguments or {}, ensure_ascii=False, allow_nan=False)
    # half of a surrogate pair becomes JSON's own escape for it
    return name, written.encode(errors="backslashreplace").decode()
