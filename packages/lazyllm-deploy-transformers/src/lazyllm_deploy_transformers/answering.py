"""From a request's parameters to sequences in the engine, and from their tokens to pieces of text."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .batching.sampling import Defaults, Sampling
from .detokenize import Detokenizer
from .protocol.errors import ApiError
from .protocol.requests import Params
from .protocol.responses import TokenLogprob, ToolCall
from .stops import StopMatcher
from .text import Text

if TYPE_CHECKING:
    from .batching.engine import Engine, Generation


# below it, scores divided by the temperature overflow; the most likely token is all that would be drawn
_COLD = 1e-5


@dataclass(frozen=True, slots=True)
class Piece:
    """New text of a choice, and calls; `finish` is set on the last one."""

    text: str
    finish: str | None = None
    logprobs: list[TokenLogprob] | None = None
    calls: Sequence[ToolCall] = ()


def sampling_for(params: Params, defaults: Defaults, choice: int, prompt: list[int]) -> Sampling:
    """Return how to sample a choice. A seed gives every choice of a request its own numbers.

    Without a temperature the model's default holds; top_p, top_k or min_p alone ask for sampling all the same.
    """
    temperature = defaults.temperature if params.temperature is None else params.temperature
    if temperature < _COLD:
        temperature = 0.0
    if params.temperature is None and temperature == 0 and (params.top_p or params.top_k or params.min_p):
        temperature = 1.0

    def pick(asked: float | None, default: float) -> float:
        return default if asked is None else asked

    repetition = pick(params.repetition_penalty, defaults.repetition_penalty)
    return Sampling(
        temperature=temperature,
        top_p=pick(params.top_p, defaults.top_p),
        top_k=int(pick(params.top_k, defaults.top_k)),
        min_p=pick(params.min_p, defaults.min_p),
        seed=None if params.seed is None else params.seed + choice,
        presence_penalty=params.presence_penalty,
        frequency_penalty=params.frequency_penalty,
        repetition_penalty=repetition,
        logit_bias=params.logit_bias,
        logprobs=params.logprobs,
        seen=frozenset(prompt) if repetition != 1.0 else frozenset(),
    )


def room(prompt: list[int], params: Params, context: int, vocabulary: int) -> int:
    """Return how many tokens may be generated.

    Raises:
        ApiError: no tokens, tokens that the model does not have, or more than its context holds.
    """
    if not prompt:
        raise ApiError("The prompt is empty: it gives no tokens.", param="prompt")
    if not 0 <= min(prompt) <= max(prompt) < vocabulary:
        raise ApiError(f"Token ids must be from 0 to {vocabulary - 1}.", param="prompt")
    if params.logit_bias and max(params.logit_bias) >= vocabulary:
        raise ApiError(
            f"logit_bias names token {max(params.logit_bias)}; ids end at {vocabulary - 1}.", param="logit_bias"
        )
    left = context - len(prompt)
    if left < 1 or (params.max_tokens or 0) > left:
        needed = len(prompt) + (params.max_tokens or 1)
        asked = f"{len(prompt)} in the prompt" + (f" and {params.max_tokens} to generate" if params.max_tokens else "")
        remedy = "Shorten the prompt" + (" or lower max_tokens." if left >= 1 else ".")
        raise ApiError(
            f"This model's context is {context} tokens, but the request needs {needed}: {asked}. {remedy}",
            param="max_tokens" if left >= 1 else "prompt",
            code="context_length_exceeded",
        )
    return params.max_tokens or left


class Choice:
    """One sequence being generated, read as text. `tokens` counts what was generated up to its end."""

    def __init__(self, engine: Engine, text: Text, prompt: list[int], params: Params, choice: int, limit: int) -> None:
        self.tokens = 0
        self._engine = engine
        self._text = text
        self._params = params
        self._sampling = sampling_for(params, engine.defaults, choice, prompt)
        self._eos = frozenset() if params.ignore_eos else engine.eos
        tools = params.tools
        self._detokenizer = Detokenizer(text.decoder(params.skip_special_tokens, marks=tools is not None), prompt)
        self._matcher = StopMatcher(params.stop)
        self._simple = not params.stop and params.logprobs is None
        self._shown = self._decoded = 0
        self._logprobs: list[TokenLogprob] = []
        every = params.stream or bool(params.stop) or (tools is not None and not tools.parallel)
        self._generation: Generation = engine.submit(
            prompt, limit, self._sampling, ignore_eos=params.ignore_eos, every=every
        )

    def cancel(self) -> None:
        """Stop computing; nothing happens after the end."""
        self._engine.cancel(self._generation)

    async def pieces(self) -> AsyncIterator[Piece]:
        """Yield the text as it becomes certain; the last piece carries the reason of the end."""
        generation = self._generation
        while True:
            text, ended = self._read(await generation.more())
            if ended or generation.done:
                self.cancel()
                text += self._rest()
                yield self._piece(text, "stop" if ended or self._matcher.stopped is not None else "length")
                return
            if text:
                yield self._piece(text, None)

    def _read(self, tokens: list[int]) -> tuple[str, bool]:
        """Return the text that `tokens` complete, and whether the answer ends among them."""
        ends = [i for i, token in enumerate(tokens) if token in self._eos] if self._eos else []
        if ends:
            del tokens[ends[0] :]
        if self._simple:
            self.tokens += len(tokens) + bool(ends)
            return self._detokenizer.extend(tokens), bool(ends)
        text = ""
        for token in tokens:
            self.tokens += 1
            text += self._take(token)
            if self._matcher.stopped is not None:
                return text, True
        self.tokens += bool(ends)
        return text, bool(ends)

    def _take(self, token: int) -> str:
        offset = self._decoded
        new = self._detokenizer.push(token)
        self._decoded += len(new)
        if self._params.logprobs is not None:
            self._logprobs.append(self._logprob(token, offset))
        return self._matcher.push(new)

    def _rest(self) -> str:
        if self._matcher.stopped is not None:
            return ""
        return self._matcher.push(self._detokenizer.flush()) + self._matcher.flush()

    def _piece(self, text: str, finish: str | None) -> Piece:
        self._shown += len(text)
        if self._params.logprobs is None:
            return Piece(text, finish)
        told = [t for t in self._logprobs if self._matcher.stopped is None or t.offset < self._shown]
        self._logprobs = []
        return Piece(text, finish, told)

    def _logprob(self, token: int, offset: int) -> TokenLogprob:
        record = self._sampling.records[self.tokens - 1]
        top = tuple((*self._text.show(i), max(value, -9999.0)) for i, value in record.top)
        shown, data = self._text.show(token)
        return TokenLogprob(shown, data, max(record.logprob, -9999.0), top, offset)
