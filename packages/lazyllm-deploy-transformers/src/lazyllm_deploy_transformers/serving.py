"""One accepted request: its sequences, and the response that is made of them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator

from starlette.types import Receive, Scope, Send

from lazyllm.errors import LazyLLMError

from .answering import Choice, Piece, room
from .calling import with_calls
from .http import Json, Watched, send_events, start_events
from .protocol.errors import ApiError
from .protocol.requests import Endpoint, Params
from .protocol.responses import DONE, Answer, TokenLogprob, ToolCall, Usage, Writer, event
from .state import State
from .toolcalls import CallReader

LOG = logging.getLogger("lazyllm.server")


def api_error(error: BaseException) -> ApiError:
    """Return what the client is told; an error that is nobody's fault but ours goes to the log with its traceback."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, LazyLLMError):
        return ApiError(error.message, status=getattr(error, "status", 500) or 500, code="engine_error")
    LOG.error("A request failed in the server itself.", exc_info=error)
    return ApiError("The server failed on this request; its log says more.", status=500, code="internal_error")


class Serving:
    """Prompts × n sequences that answer one request, as an ASGI response."""

    def __init__(
        self, state: State, endpoint: Endpoint, prompts: list[list[int]], params: Params, echo: list[str] | None = None
    ) -> None:
        self._state = state
        self._endpoint = endpoint
        self._params = params
        self._echo = echo
        self._started = time.monotonic()
        self._first = False
        self._status = 499
        self._prompt_tokens = sum(map(len, prompts))
        engine = state.engine
        limits = [room(p, params, engine.sizing.max_model_len, engine.vocabulary) for p in prompts]
        self._choices: list[Choice] = []
        try:
            for prompt, limit in zip(prompts, limits, strict=True):
                for i in range(params.n):
                    self._choices.append(Choice(engine, state.text, prompt, params, i, limit))
        except BaseException:
            self._cancel()
            raise
        self._writer = Writer(endpoint, state.name, include_usage=params.include_usage)
        state.metrics.prompt_tokens += self._prompt_tokens
        LOG.debug("%s: %d prompt tokens, %d choices", self._writer.id, self._prompt_tokens, len(self._choices))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._state.answering += 1
        work = self._stream if self._params.stream else self._whole
        try:
            await Watched(work, self._gone)(scope, receive, send)
        finally:
            self._state.answering -= 1
            self._cancel()
            self._count()

    def _gone(self) -> None:
        self._state.metrics.cancelled += 1
        self._cancel()

    def _cancel(self) -> None:
        for choice in self._choices:
            choice.cancel()

    def _count(self) -> None:
        metrics, seconds = self._state.metrics, time.monotonic() - self._started
        metrics.requests[self._endpoint, self._status] += 1
        metrics.completion_tokens += self._usage().completion
        metrics.duration.observe(seconds)
        LOG.debug("%s: %d, %d tokens, %.2f s", self._writer.id, self._status, self._usage().completion, seconds)

    def _usage(self) -> Usage:
        return Usage(self._prompt_tokens, sum(c.tokens for c in self._choices))

    async def _whole(self, send: Send) -> None:
        try:
            answers = await asyncio.gather(*(self._answer(i) for i in range(len(self._choices))))
            response = Json(self._writer.whole(list(answers), self._usage()))
            self._status = 200
        except Exception as e:
            error = api_error(e)
            response, self._status = Json(error.to_json(), error.status), error.status
        await response({"type": "http"}, _no_receive, send)

    async def _answer(self, index: int) -> Answer:
        text, finish = self._prefix(index), ""
        logprobs: list[TokenLogprob] = []
        calls: list[ToolCall] = []
        async for piece in self._pieces(index):
            text += piece.text
            finish = piece.finish or finish
            logprobs += piece.logprobs or []
            calls += piece.calls
        return Answer(index, text, finish, logprobs if self._params.logprobs is not None else None, calls)

    async def _stream(self, send: Send) -> None:
        self._status = 200
        await start_events(send)
        tasks = []
        try:
            if opening := self._opening():
                await send_events(send, opening)
            tasks = [asyncio.ensure_future(self._feed(send, i)) for i in range(len(self._choices))]
            closing = b"".join(await asyncio.gather(*tasks))
            if self._params.include_usage:
                closing += self._writer.usage(self._usage())
            closing += DONE
        except Exception as e:
            error = api_error(e)
            self._status = error.status
            closing = event(error.to_json())
        finally:
            for task in tasks:
                task.cancel()
        await send_events(send, closing, last=True)

    def _opening(self) -> bytes:
        indices = range(len(self._choices))
        if self._endpoint == "chat":
            return b"".join(map(self._writer.role, indices))
        return b"".join(self._writer.delta(i, prefix) for i in indices if (prefix := self._prefix(i)))

    async def _feed(self, send: Send, index: int) -> bytes:
        """Send a choice's events as they come; return the last one where it goes out with the stream's end."""
        async for piece in self._pieces(index):
            events = self._writer.delta(index, piece.text, piece.finish, piece.logprobs, piece.calls)
            if piece.finish and len(self._choices) == 1:
                return events
            await send_events(send, events)
        return b""

    async def _pieces(self, index: int) -> AsyncIterator[Piece]:
        choice = self._choices[index]
        pieces = choice.pieces()
        if (tools := self._params.tools) and (form := self._state.text.style.format):
            pieces = with_calls(pieces, CallReader(form, tools.names, parallel=tools.parallel), choice.cancel)
        async for piece in pieces:
            if not self._first:
                self._first = True
                self._state.metrics.first_token.observe(time.monotonic() - self._started)
            yield piece

    def _prefix(self, index: int) -> str:
        return self._echo[index // self._params.n] if self._echo else ""


async def _no_receive() -> dict[str, str]:
    return {"type": "http.disconnect"}
