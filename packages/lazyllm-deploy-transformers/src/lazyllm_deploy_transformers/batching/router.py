"""Carries the batching thread's results to the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from transformers.generation.continuous_batching.continuous_api import OutputRouter

Deliver = Callable[[str, list[int], bool, "str | None"], None]


class Router(OutputRouter):  # type: ignore[misc]
    """Wakes the loop once a step, whatever the number of sequences, and keeps nothing for sequences that are gone."""

    def __init__(self, loop: asyncio.AbstractEventLoop, deliver: Deliver) -> None:
        super().__init__()
        self._loop = loop
        self._deliver = deliver
        self._box: deque[list[tuple[str, list[int], bool, str | None]]] = deque()
        self._called = False
        self._watched: dict[str, Callable[[str | None], None]] = {}

    def watch(self, id: str, done: Callable[[str | None], None]) -> None:
        """Have `done(error)` called in the batching thread when the request `id` ends."""
        self._watched[id] = done

    def deliver(self, output: Any) -> None:
        self.deliver_batch([output])

    def deliver_batch(self, outputs: list[Any]) -> None:
        """Called in the batching thread."""
        if self._watched:
            for o in outputs:
                if o.is_finished() and o.request_id in self._watched:
                    self._watched.pop(o.request_id)(o.error)
        results = [(o.request_id, o.generated_tokens, o.is_finished(), o.error) for o in outputs]
        self._box.append(results)
        # a loop that has not yet come to the last step's results finds these beside them
        if not self._called and not self._loop.is_closed():
            self._called = True
            self._loop.call_soon_threadsafe(self._run)

    def _run(self) -> None:
        self._called = False
        while self._box:
            for result in self._box.popleft():
                self._deliver(*result)
