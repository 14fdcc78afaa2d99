"""What a request asks for: JSON bodies read into typed records, refused where they could not be honoured."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lazyllm.errors import near

from . import fields
from .errors import ApiError, brief
from .messages import read_messages
from .tools import TOOL_FIELDS, Offered, read_tools

Endpoint = Literal["chat", "completions"]

_SHARED = [
    "model",
    "n",
    "stream",
    "stream_options",
    "stop",
    "seed",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "logit_bias",
    "logprobs",
    "max_tokens",
    "ignore_eos",
    "skip_special_tokens",
]
_OWN = {
    "chat": ["messages", "max_completion_tokens", "top_logprobs", "chat_template_kwargs"],
    "completions": ["prompt", "echo"],
}
_HARMLESS = frozenset(
    [
        "user",
        "store",
        "metadata",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prediction",
    ]
)
# field → the values that ask for nothing special; any other is refused, since it would change the answer
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
    "web_search_options": (),
    "reasoning_effort": (),
    "verbosity": (),
    "best_of": (1,),
    "suffix": ("",),
    "min_tokens": (0,),
    "use_beam_search": (False,),
    "include_stop_str_in_output": (False,),
    "guided_json": (),
    "guided_regex": (),
    "guided_choice": (),
}


@dataclass(frozen=True, slots=True)
class Params:
    """How to generate, as the request says it: None means the model's default."""

    n: int = 1
    stream: bool = False
    include_usage: bool = False
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    seed: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float | None = None
    logit_bias: dict[int, float] = field(default_factory=dict)
    logprobs: int | None = None
    ignore_eos: bool = False
    skip_special_tokens: bool = True
    tools: Offered | None = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    model: str | None
    messages: list[dict[str, Any]]
    template: dict[str, Any]
    params: Params


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """`prompts`: texts or token ids; each gets `params.n` choices."""

    model: str | None
    prompts: list[str | list[int]]
    echo: bool
    params: Params


def read_chat(body: Any) -> ChatRequest:
    """Return the chat request in a decoded JSON body."""
    body = _object(body, "chat")
    _refuse(body, taken=TOOL_FIELDS)
    messages = read_messages(body.get("messages"))
    wanted = fields.flag(body, "logprobs")
    top = fields.whole(body, "top_logprobs", 0, 20)
    if top is not None and not wanted:
        raise ApiError("top_logprobs needs logprobs: true.", param="top_logprobs")
    limit = fields.whole(body, "max_completion_tokens", 1)
    older = fields.whole(body, "max_tokens", 1)
    if limit is not None and older is not None and limit != older:
        raise ApiError(
            f"max_tokens is {older} and max_completion_tokens {limit}: give one of them.", param="max_tokens"
        )
    params = _params(body, limit if limit is not None else older, (top or 0) if wanted else None, read_tools(body))
    return ChatRequest(_model(body), messages, dict(fields.mapping(body, "chat_template_kwargs")), params)


def read_completion(body: Any) -> CompletionRequest:
    """Return the completion request in a decoded JSON body.

    Without max_tokens it is the protocol's 16; null means all that the context has room for.
    """
    body = _object(body, "completions")
    best_of, n = body.get("best_of"), body.get("n")
    if best_of is not None and best_of == n:
        body = {k: v for k, v in body.items() if k != "best_of"}
    _refuse(body)
    limit = fields.whole(body, "max_tokens", 1) if "max_tokens" in body else 16
    logprobs = fields.whole(body, "logprobs", 0, 20)
    echo = fields.flag(body, "echo")
    if echo and logprobs is not None:
        raise ApiError("echo together with logprobs is not supported: ask for one of them.", param="echo")
    params = _params(body, limit, logprobs)
    prompts = _prompts(body.get("prompt"))
    if len(prompts) * params.n > 1024:
        raise ApiError(f"{len(prompts)} prompts × n={params.n} are more than 1024 answers.", param="prompt")
    return CompletionRequest(_model(body), prompts, echo, params)


def _object(body: Any, endpoint: Endpoint) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise ApiError(f"The request's body must be a JSON object, not {fields.shown(body)}.")
    known = {*_SHARED, *_OWN[endpoint], *_HARMLESS, *_NEUTRAL}
    for name in body:
        if name not in known:
            mine = [*_SHARED, *_OWN[endpoint]]
            raise ApiError(
                f"Unknown field {brief(name)!r}. {near(brief(name), mine)}",
                param=name if len(name) < 80 else None,
                code="unknown_field",
            )
    return body


def _refuse(body: Mapping[str, Any], taken: Collection[str] = ()) -> None:
    for name, neutral in _NEUTRAL.items():
        value = None if name in taken else body.get(name)
        if value is not None and not any(type(value) is type(n) and value == n for n in neutral):
            raise ApiError(
                f"{name} is not supported by this server; it would change the answer, so it is not ignored.",
                param=name,
                code="unsupported_parameter",
            )


def _model(body: Mapping[str, Any]) -> str | None:
    return None if body.get("model") is None else fields.text(body["model"], "model")


def _params(
    body: Mapping[str, Any], max_tokens: int | None, logprobs: int | None, tools: Offered | None = None
) -> Params:
    stream = fields.flag(body, "stream")
    options = fields.mapping(body, "stream_options")
    if options and not stream:
        raise ApiError("stream_options needs stream: true.", param="stream_options")
    for name in options:
        if name not in ("include_usage", "include_obfuscation"):
            said = brief(name)
            raise ApiError(f"Unknown stream option {said!r}. {near(said, ['include_usage'])}", param="stream_options")
    top_k = fields.whole(body, "top_k", -1, 2**31 - 1)
    return Params(
        n=fields.whole(body, "n", 1, 128) or 1,
        stream=stream,
        include_usage=fields.flag(options, "include_usage"),
        stop=fields.stops(body),
        max_tokens=max_tokens,
        seed=fields.whole(body, "seed", -(2**63), 2**64 - 1),
        temperature=fields.number(body, "temperature", 0, 2),
        top_p=fields.number(body, "top_p", 0, 1),
        top_k=0 if top_k == -1 else top_k,
        min_p=fields.number(body, "min_p", 0, 1),
        presence_penalty=fields.number(body, "presence_penalty", -2, 2) or 0.0,
        frequency_penalty=fields.number(body, "frequency_penalty", -2, 2) or 0.0,
        repetition_penalty=fields.number(body, "repetition_penalty", 0, 10, above=True),
        logit_bias=fields.logit_bias(body),
        logprobs=logprobs,
        ignore_eos=fields.flag(body, "ignore_eos"),
        skip_special_tokens=fields.flag(body, "skip_special_tokens", True),
        tools=tools,
    )


def _prompts(value: Any) -> list[str | list[int]]:
    if isinstance(value, str):
        return [fields.text(value, "prompt")]
    if isinstance(value, list) and value:
        if all(isinstance(v, int) and not isinstance(v, bool) for v in value):
            return [value]
        return [_prompt(v) for v in value]
    raise ApiError(
        "prompt must be a string, a list of strings, token ids or a list of lists of token ids.", param="prompt"
    )


def _prompt(value: Any) -> str | list[int]:
    if isinstance(value, list) and value and all(isinstance(v, int) and not isinstance(v, bool) for v in value):
        return value
    if isinstance(value, str):
        return fields.text(value, "prompt")
    raise ApiError("prompt holds something that is neither a string nor a list of token ids.", param="prompt")
