"""The bodies that OpenAI clients expect back."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from json.encoder import encode_basestring
from typing import Any

from .requests import Endpoint

DONE = b"data: [DONE]\n\n"
_MARK = "\0"


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One generated token with the most likely ones at its place; `offset` is where its text begins."""

    token: str
    data: list[int] | None
    logprob: float
    top: tuple[tuple[str, list[int] | None, float], ...] = ()
    offset: int = 0


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that the model calls, the answer's `index`-th; `arguments` are a JSON object as text."""

    index: int
    id: str
    name: str
    arguments: str

    def to_json(self) -> dict[str, Any]:
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": self.id, "type": "function", "function": function}


@dataclass(slots=True)
class Answer:
    """One finished choice."""

    index: int
    text: str
    finish_reason: str
    logprobs: list[TokenLogprob] | None = None
    calls: Sequence[ToolCall] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    prompt: int
    completion: int

    def to_json(self) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
        }


@dataclass(slots=True)
class Writer:
    """Writes one request's answer, whole or as events, in its endpoint's form."""

    endpoint: Endpoint
    model: str
    id: str = ""
    created: int = field(default_factory=lambda: int(time.time()))
    include_usage: bool = False
    _around: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.id = self.id or ("chatcmpl-" if self.endpoint == "chat" else "cmpl-") + uuid.uuid4().hex

    def whole(self, answers: list[Answer], usage: Usage) -> dict[str, Any]:
        choices = [self._choice(a) for a in answers]
        kind = "chat.completion" if self.endpoint == "chat" else "text_completion"
        return {**self._head(kind), "choices": choices, "usage": usage.to_json()}

    def role(self, index: int) -> bytes:
        """Return a chat choice's first event, which carries the role."""
        return self._chunk([{"index": index, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])

    def delta(
        self,
        index: int,
        text: str,
        finish: str | None = None,
        logprobs: list[TokenLogprob] | None = None,
        calls: Sequence[ToolCall] = (),
    ) -> bytes:
        """Return the event of a piece of text, of calls, of the end, or of all of them."""
        if text and finish is None and logprobs is None and not calls:
            before, after = self._around.get(index) or self._frame(index)
            return before + encode_basestring(text).encode() + after
        return self._delta(index, text, finish, logprobs, calls)

    def _frame(self, index: int) -> tuple[bytes, bytes]:
        """Return what stands around the text in a choice's events: all but a few of a stream differ in it alone."""
        before, _, after = self._delta(index, _MARK, None, None).rpartition(encode_basestring(_MARK).encode())
        self._around[index] = before, after
        return before, after

    def _delta(
        self,
        index: int,
        text: str,
        finish: str | None,
        logprobs: list[TokenLogprob] | None,
        calls: Sequence[ToolCall] = (),
    ) -> bytes:
        choice: dict[str, Any]
        if self.endpoint == "chat":
            delta: dict[str, Any] = {"content": text} if text else {}
            if calls:
                delta["tool_calls"] = [{"index": c.index, **c.to_json()} for c in calls]
            choice = {"index": index, "delta": delta, "finish_reason": finish}
        else:
            choice = {"index": index, "text": text, "finish_reason": finish}
        choice["logprobs"] = self._logprobs(logprobs)
        return self._chunk([choice])

    def usage(self, usage: Usage) -> bytes:
        """Return the last event of a stream that asked for usage: no choices, the counts."""
        return self._chunk([], usage)

    def _chunk(self, choices: list[dict[str, Any]], usage: Usage | None = None) -> bytes:
        kind = "chat.completion.chunk" if self.endpoint == "chat" else "text_completion"
        body = {**self._head(kind), "choices": choices}
        if self.include_usage:
            body["usage"] = usage.to_json() if usage else None
        return event(body)

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _choice(self, a: Answer) -> dict[str, Any]:
        logprobs = self._logprobs(a.logprobs)
        if self.endpoint == "chat":
            message: dict[str, Any] = {"role": "assistant", "content": a.text, "refusal": None}
            if a.calls:
                message |= {"content": a.text or None, "tool_calls": [c.to_json() for c in a.calls]}
            return {"index": a.index, "message": message, "logprobs": logprobs, "finish_reason": a.finish_reason}
        return {"index": a.index, "text": a.text, "logprobs": logprobs, "finish_reason": a.finish_reason}

    def _logprobs(self, tokens: list[TokenLogprob] | None) -> dict[str, Any] | None:
        if tokens is None:
            return None
        if self.endpoint == "chat":
            return {"content": [_chat_logprob(t) for t in tokens], "refusal": None}
        return {
            "tokens": [t.token for t in tokens],
            "token_logprobs": [t.logprob for t in tokens],
            "top_logprobs": [{text: value for text, _, value in t.top} for t in tokens],
            "text_offset": [t.offset for t in tokens],
        }


def _chat_logprob(t: TokenLogprob) -> dict[str, Any]:
    top = [{"token": text, "bytes": data, "logprob": value} for text, data, value in t.top]
    return {"token": t.token, "bytes": t.data, "logprob": t.logprob, "top_logprobs": top}


def event(body: dict[str, Any]) -> bytes:
    """Return a server-sent event with `body` as JSON."""
    return b"data: " + to_json(body) + b"\n\n"


def to_json(body: Any) -> bytes:
    """Return `body` as JSON; half of a surrogate pair, which a client or a folder's name may bring, is escaped."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace")
