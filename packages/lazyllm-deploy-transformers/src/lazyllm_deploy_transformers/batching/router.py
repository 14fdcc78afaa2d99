"""Carries the batching thread's results to the event loop."""

from __future__ import annotations

import asyncio
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
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._run, results)

    def _run(self, results: list[tuple[str, list[int], bool, str | None]]) -> None:
        for result in results:
            self._deliver(*result)
