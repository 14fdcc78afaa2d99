"""Follows a job's log: new text, cut into lines, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

CHUNK = 1 << 20
LONGEST = 1 << 16
"""A line longer than this many bytes is handed on in pieces."""


class Follower:
    """Reads what was added to a file since the last look. Of what a program rewrote with `\\r` the last counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._rest = b""

    @property
    def behind(self) -> int:
        """Bytes that were not read yet."""
        try:
            return max(0, self.path.stat().st_size - self._offset)
        except OSError:
            return 0

    def skip_to_last(self, size: int) -> int:
        """Leave out all but the last `size` unread bytes and return how many were left out."""
        skipped = max(0, self.behind - size)
        if skipped:
            self._offset += skipped
            self._rest = b""
        return skipped

    def skip_to_lines(self, count: int) -> None:
        """Go to where the last `count` lines begin, an unfinished one included."""
        self._offset, self._rest = 0, b""
        here = max(0, self.behind - 1)  # a line's end at the very end begins no line
        if count <= 0:
            self._offset = self.behind
        while here and count > 0:
            begin = max(0, here - CHUNK)
            with self.path.open("rb") as file:
                file.seek(begin)
                text = file.read(here - begin)
            ends = text.count(b"\n")
            if ends >= count:
                at = len(text)
                for _ in range(count):
                    at = text.rindex(b"\n", 0, at)
                self._offset = begin + at + 1
            here, count = begin, count - ends

    def lines(self, final: bool = False, size: int | None = None) -> Iterator[str]:
        """Yield the lines that are complete by now; with `final` also an unfinished last one.

        What is written meanwhile is left to the next call: this ends, however fast the writer is. With `size` no more
        than so many bytes are read.
        """
        end = self._offset + (self.behind if size is None else min(size, self.behind))
        while self._offset < end:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                text = file.read(min(CHUNK, end - self._offset))
            if not text:
                break  # somebody cut the file short
            self._offset += len(text)
            *whole, self._rest = (self._rest + text).split(b"\n")
            for line in whole:
                yield from _pieces(line)
            if len(self._rest) >= LONGEST:
                rewritten = b"\r" if self._rest.endswith(b"\r") else b""
                *pieces, self._rest = _cut(_visible(self._rest) + rewritten)
                yield from (piece.decode("utf-8", "replace") for piece in pieces)
        if final and self._rest:
            rest, self._rest = self._rest, b""
            yield from _pieces(rest)


def _visible(line: bytes) -> bytes:
    """Return what a terminal would show of a line in the end."""
    line = line.rstrip(b"\r")
    return line[line.rfind(b"\r") + 1 :]


def _cut(line: bytes) -> list[bytes]:
    return [line[i : i + LONGEST] for i in range(0, len(line), LONGEST)] or [b""]


def _pieces(line: bytes) -> Iterator[str]:
    return (piece.decode("utf-8", "replace") for piece in _cut(_visible(line)))


def tail(path: Path, count: int, size: int = 1 << 20) -> list[str]:
    """Return the last `count` lines of a file, looking at no more than its last `size` bytes."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(0, end - size))
            text = file.read(size)
    except OSError:
        return []
    if end > size:
        text = text[text.find(b"\n") + 1 :]
    lines = text.removesuffix(b"\n").split(b"\n")[-count:] if text and count > 0 else []
    return [_visible(line).decode("utf-8", "replace") for line in lines]


def last_words(path: Path, count: int = 20, width: int = 500) -> str:
    """Return the last lines of a log for an error message: at most `count`, each cut to `width` characters.

    Progress is left out: it says nothing of what went wrong.
    """
    told = [line for line in tail(path, 1 << 16, size=1 << 16) if not line.startswith("[progress] ")]
    lines = (line if len(line) <= width else f"{line[:width]} …" for line in told[-count:])
    return "\n".join(lines).strip("\n")
