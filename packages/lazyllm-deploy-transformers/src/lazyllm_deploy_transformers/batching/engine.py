"""The library's batching thread behind a small asyncio face."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lazyllm.errors import ModelError, ServiceError

from ..arguments import Settings
from .loading import load
from .measure import measured, plan_for
from .router import Router
from .sampler import KEY, Sampler
from .sampling import Defaults, Sampling
from .sizing import PAGE
from .warmup import reference, warm_up


class Generation:
    """One sequence under way. Lives on the event loop; `deliver` is called there by the router."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.tokens: list[int] = []
        self.done = False
        self.error: str | None = None
        self._read = 0
        self._waiter: asyncio.Future[None] | None = None

    def deliver(self, tokens: list[int], done: bool, error: str | None) -> None:
        """Take the tokens so far; what arrives while the reader is busy is read in one go."""
        self.tokens = tokens
        self.done = self.done or done or error is not None
        self.error = self.error or error
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def more(self) -> list[int]:
        """Return the tokens since the last call, waiting for one; none are left once `done` is set.

        Raises:
            ServiceError: the engine failed.
        """
        while len(self.tokens) == self._read and not self.done:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self.error is not None:
            raise ServiceError(f"The engine failed: {self.error}", status=500)
        new = self.tokens[self._read :]
        self._read += len(new)
        return new


@dataclass(frozen=True, slots=True)
class Counts:
    """What /metrics shows of the engine: sequences computed and waiting, tokens computed since the start."""

    running: int
    waiting: int
    tokens: int


class Engine:
    """A loaded model and its batching thread. `start` blocks: call it from a thread of its own."""

    def __init__(self, settings: Settings, threads: int) -> None:
        self._settings = settings
        self._threads = threads
        self._number = 0
        self._active: dict[str, Generation] = {}

    def start(self, loop: asyncio.AbstractEventLoop) -> str:
        """Load the model, start batching, compute a token; return a line that tells the chosen numbers.

        Raises:
            LazyLLMError: the model cannot be loaded, does not fit, or the library does not batch it rightly.
        """
        import logging

        from transformers import ContinuousBatchingConfig, GenerationConfig

        loaded = load(self._settings, self._threads)
        self.model, self.tokenizer = loaded.model, loaded.tokenizer
        logging.getLogger("ContinuousBatchingLogger").setLevel(logging.ERROR)
        generation = self.model.generation_config
        try:
            self.defaults = Defaults.of(generation.to_dict())
        except (TypeError, ValueError) as e:
            raise ModelError(f"generation_config.json in {self._settings.model!r} cannot be used: {e}.") from None
        self.eos = _eos(generation, self.model.config, self.tokenizer)
        self.vocabulary = int(self.model.get_input_embeddings().num_embeddings)
        on_cpu = self.model.device.type == "cpu"
        sizing = plan_for(self.model, self._settings)
        prompt, expected = reference(self.model, self.vocabulary)
        config = ContinuousBatchingConfig(
            page_size=PAGE,
            num_blocks=sizing.blocks or None,
            max_batch_tokens=sizing.max_batch_tokens,
            max_requests_per_batch=sizing.max_num_seqs,
            # the sampler looks at the host's parameters in each step, which a captured graph could not
            use_cuda_graph=False,
            use_async_batching=False,
            auto_switch_to_flash=not on_cpu,
            # our own bounds hold on a CPU, where the library would compare with all of the machine's memory
            max_memory_percent=0.95 if on_cpu else None,
        )
        base = GenerationConfig(do_sample=False, eos_token_id=sorted(self.eos) or -1, max_new_tokens=16)
        self.manager = self.model.init_continuous_batching(generation_config=base, continuous_batching_config=config)
        self.sampler = Sampler()
        self.manager.logit_processor = self.sampler
        self.manager.output_router = self.router = Router(loop, self._deliver)
        self.manager.start()
        warm_up(self, prompt, expected)
        self.sizing = measured(sizing, self.manager.batch_processor.cache)
        return self._describe()

    def probe(self, prompt: list[int], max_tokens: int, sampling: Sampling, done: Callable[[str | None], None]) -> None:
        """Start a sequence whose end is told by `done(error)` in the batching thread, before any loop runs."""
        self.router.watch("probe", done)
        self.manager.add_request(prompt, "probe", max_tokens, eos_token_id=-1, **{KEY: sampling})

    def _describe(self) -> str:
        s, m = self.sizing, self.model
        return (
            f"{str(m.dtype).removeprefix('torch.')} on {m.device}, {self._threads} threads, "
            f"context {s.max_model_len} tokens, {s.max_num_seqs} sequences at once, "
            f"{s.max_batch_tokens} tokens a step, KV cache {s.tokens} tokens ({s.bytes / 2**20:.0f} MiB)"
        )

    @property
    def alive(self) -> bool:
        return bool(self.manager.is_running()) and self.manager.background_thread_status.fatal_error is None

    @property
    def failure(self) -> str | None:
        """What ended the batching thread, None while nothing did."""
        error = self.manager.background_thread_status.fatal_error
        return None if error is None else str(error)

    def submit(
        self, prompt: list[int], max_tokens: int, sampling: Sampling, *, ignore_eos: bool = False, every: bool = True
    ) -> Generation:
        """Start a sequence; `every` wants tokens as they come, else only all of them at the end.

        Raises:
            ServiceError: the engine is not running.
        """
        self._number += 1
        generation = Generation(f"g{self._number}")
        self._active[generation.id] = generation
        eos = -1 if ignore_eos or not self.eos else sorted(self.eos)
        accepted = self.alive and self.manager.add_request(
            prompt, generation.id, max_tokens, streaming=every, eos_token_id=eos, **{KEY: sampling}
        )
        if not accepted:
            del self._active[generation.id]
            raise ServiceError("The engine is not running.", status=503)
        return generation

    def cancel(self, generation: Generation) -> None:
        """Stop computing a sequence; nothing happens if it has ended."""
        if self._active.pop(generation.id, None) and not generation.done:
            self.manager.cancel_request(generation.id)

    def fail(self, error: str) -> None:
        """End every sequence under way with an error: the batching thread is gone."""
        for generation in list(self._active.values()):
            generation.deliver(generation.tokens, True, error)
        self._active.clear()

    def counts(self) -> Counts:
        processor = self.manager.batch_processor
        if processor is None:
            return Counts(0, 0, self.sampler.tokens)
        scheduler = processor.scheduler
        waiting = len(scheduler.waiting_requests) + self.manager.input_queue.qsize()
        return Counts(len(scheduler.active_requests), waiting, self.sampler.tokens)

    def _deliver(self, id: str, tokens: list[int], done: bool, error: str | None) -> None:
        generation = self._active.get(id)
        if generation is not None:
            if done or error is not None:
                del self._active[id]
            generation.deliver(tokens, done, error)


def _eos(generation: Any, config: Any, tokenizer: Any) -> frozenset[int]:
    for value in (generation.eos_token_id, getattr(config, "eos_token_id", None), tokenizer.eos_token_id):
        if value is not None:
            return frozenset(value if isinstance(value, list) else [value])
    return frozenset()
