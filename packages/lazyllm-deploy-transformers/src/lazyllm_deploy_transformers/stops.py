"""Stop strings in text that arrives in pieces."""

from __future__ import annotations

from collections.abc import Sequence


class StopMatcher:
    """Passes text on until a stop string is complete.

    The result does not depend on where the pieces were cut: the stop string that ends first wins, and of those
    that end at one place the longest. Text that may begin a stop string is held back; `flush` gives it out.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._firsts = frozenset(s[0] for s in stops)
        self._longest = max(map(len, stops), default=0)
        self._held = ""
        self.stopped: str | None = None

    def push(self, text: str) -> str:
        """Return what may be passed on now; after a match `stopped` names it and nothing more comes out."""
        if self.stopped is not None:
            return ""
        if not self._stops:
            return text
        buffer = self._held + text
        found = [(i + len(s), i, s) for s in self._stops if (i := buffer.find(s)) >= 0]
        if found:
            _, start, self.stopped = min(found)
            self._held = ""
            return buffer[:start]
        keep = self._suffix(buffer)
        self._held = buffer[len(buffer) - keep :]
        return buffer[: len(buffer) - keep]

    def flush(self) -> str:
        """Return the held text: no stop string was completed."""
        held, self._held = self._held, ""
        return held

    def _suffix(self, buffer: str) -> int:
        """Return the length of the longest end of `buffer` that begins a stop string."""
        for start in range(max(0, len(buffer) - self._longest), len(buffer)):
            if buffer[start] in self._firsts and any(s.startswith(buffer[start:]) for s in self._stops):
                return len(buffer) - start
        return 0
