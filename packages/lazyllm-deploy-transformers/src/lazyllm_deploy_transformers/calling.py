"""Pieces of an answer, with the calls that its text holds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from .answering import Piece
from .protocol.responses import TokenLogprob
from .toolcalls import CallReader


async def with_calls(
    pieces: AsyncIterator[Piece], reader: CallReader, cancel: Callable[[], None]
) -> AsyncIterator[Piece]:
    """Yield the pieces without the text of calls, which come as calls once they are complete.

    The log-probabilities of held text come with the next piece. `cancel` is called where a call ends the answer early.
    """
    logprobs: list[TokenLogprob] | None = None
    async for piece in pieces:
        text, calls = reader.push(piece.text)
        if piece.logprobs is not None:
            logprobs = (logprobs or []) + piece.logprobs
        finish = piece.finish
        if finish:
            rest, more = reader.flush()
            text, calls = text + rest, calls + more
        if reader.count and (finish == "stop" or reader.done):
            finish = "tool_calls"
        if text or calls or finish:
            yield Piece(text, finish, logprobs, calls)
            logprobs = None
        if reader.done:
            cancel()
            return
