"""Text to tokens and back, with the model's tokenizer and chat template."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from .bounds import byte_characters, core_of, most_characters
from .protocol.errors import ApiError
from .protocol.tools import Offered
from .toolcalls import Format
from .toolformats import ToolStyle, check_tools, find_style, fit_calls

_LONG = 2**16  # characters, which take a tenth of a second
# chat_template too: a client's own program could keep the thread that writes prompts busy forever
_RESERVED = frozenset(
    {"chat_template", "conversation", "messages", "tokenize", "tokenizer_kwargs", "return_dict", "return_tensors"}
    | {"padding", "truncation"}
)
T = TypeVar("T")


class Text:
    """Writes and encodes prompts on a thread of its own, long texts on another, so that they hold up no short one.

    That takes one of the library's fast tokenizers, which threads may share. Any other works on one thread, where a
    text waits for those before it. A text too long for `context` tokens is refused before it is encoded, where the
    tokenizer tells how much text a token can stand for.
    """

    def __init__(self, tokenizer: Any, context: int | None = None) -> None:
        self._tokenizer = tokenizer
        self._thread = self._long = ThreadPoolExecutor(1, "tokenizer")
        self._context = context
        self._most: int | None = None
        if (core := core_of(tokenizer, "_encode_plus", "__call__")) is not None:
            tokenizer("")  # the first call sets the core up (truncation, padding), which must not happen in two threads
            self._long = ThreadPoolExecutor(1, "tokenizer-long")
            self._most = most_characters(core)
        self._decode = _decode(tokenizer)
        # the texts of single tokens, at most the vocabulary: each step of an answer asks for one again
        self._known: dict[bool, dict[int, str]] = {False: {}, True: {}}
        self._bytes = {char: byte for byte, char in byte_characters().items()}
        self._has_template = bool(getattr(tokenizer, "chat_template", None))
        self.style = self._toolless = ToolStyle()
        if self._has_template:
            self.style = find_style(self._render)
            # a model may have a template of its own for conversations with tools, and another one does for the rest
            self._toolless = find_style(lambda messages, _: self._render(messages, None))
        self._hidden = _hidden(tokenizer, self.style.format)

    def _render(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> str:
        return str(
            self._tokenizer.apply_chat_template(messages, tools=tools, tokenize=False, add_generation_prompt=True)
        )

    async def encode(self, text: str) -> list[int]:
        """Return the tokens of a bare prompt, with the special ones that the model expects around it."""
        return await self._tokens(text, "prompt")

    async def encode_chat(
        self, messages: list[dict[str, Any]], options: dict[str, Any], tools: Offered | None = None
    ) -> list[int]:
        """Return the tokens of a conversation as the model's chat template writes it, ready for the answer.

        Raises:
            ApiError: the model has no template, or the template refuses the messages or has no use for the tools or
                for earlier calls, or what it writes is longer than the context.
        """
        if not self._has_template:
            raise ApiError(
                "This model has no chat template, so it takes no messages. Send a prompt to /v1/completions, or put a "
                "chat_template.jinja into the model folder.",
                param="messages",
                code="no_chat_template",
            )
        if taken := _RESERVED & options.keys():
            raise ApiError(f"chat_template_kwargs cannot set {', '.join(sorted(taken))}.", param="chat_template_kwargs")
        if tools:
            check_tools(self.style)
            if "tools" in options:
                raise ApiError("tools and chat_template_kwargs.tools: give one of them.", param="chat_template_kwargs")
            options["tools"] = tools.described
        messages = fit_calls(messages, self.style if options.get("tools") else self._toolless)
        options.setdefault("add_generation_prompt", True)
        written = await self._run(
            lambda: self._tokenizer.apply_chat_template(messages, tokenize=False, **options), "messages", self._thread
        )
        return await self._tokens(written, "messages", add_special_tokens=False)

    async def _tokens(self, text: str, param: str, **options: bool) -> list[int]:
        if self._context and self._most and len(text) > self._most * self._context:
            raise ApiError(
                f"This model's context is {self._context} tokens, at most {self._most * self._context} characters, but "
                f"the request has {len(text)}. Shorten the prompt.",
                param=param,
                code="context_length_exceeded",
            )
        thread = self._long if len(text) > _LONG else self._thread
        return await self._run(lambda: list(self._tokenizer(text, **options)["input_ids"]), param, thread)

    async def _run(self, work: Callable[[], T], param: str, thread: ThreadPoolExecutor) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, work)
        except Exception as e:  # templates are programs of the model's author and raise what they like
            text = " ".join(str(e).split())[:300] or type(e).__name__
            raise ApiError(f"The model's tokenizer or chat template does not take this: {text}", param=param) from e

    def decoder(self, skip_special: bool, *, marks: bool = False) -> Callable[[list[int]], str]:
        """Return the function that turns token ids into text; with `marks`, special tokens that mark calls stay."""
        decode, known, hidden = self._decode, self._known[skip_special], self._hidden
        if marks and skip_special and hidden is not None:
            return lambda ids: decode([i for i in ids if i not in hidden], False)

        def run(ids: list[int]) -> str:
            if len(ids) != 1:
                return decode(ids, skip_special)
            found = known.get(ids[0])
            if found is None:
                found = known[ids[0]] = decode(ids, skip_special)
            return found

        return run

    def show(self, token: int) -> tuple[str, list[int] | None]:
        """Return a token's text and its bytes; None where a piece of a character has no known bytes."""
        text = self._decode([token], False)
        if "\ufffd" not in text:
            return text, list(text.encode())
        raw = self._tokenizer.convert_ids_to_tokens(token) or ""
        if len(raw) == 6 and raw.startswith("<0x"):
            return text, [int(raw[3:5], 16)]
        data = [self._bytes.get(char) for char in raw]
        return text, None if None in data else data  # type: ignore[return-value]


def _hidden(tokenizer: Any, form: Format | None) -> frozenset[int] | None:
    """Return the special tokens but for those that mark calls, None where no special token does."""
    if form is None:
        return None
    special = {i: token.content for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    hidden = frozenset(i for i, content in special.items() if content not in (form.opening, form.closing))
    return hidden if len(hidden) < len(special) else None


def _decode(tokenizer: Any) -> Callable[[list[int], bool], str]:
    """Return the function (tokens, skip_special) → text; a fast tokenizer's core is called without its wrappers."""
    core = core_of(tokenizer, "_decode", "decode")
    if core is not None:
        decode = core.decode
        return lambda ids, skip: str(decode(ids, skip_special_tokens=skip))
    return lambda ids, skip: str(tokenizer.decode(ids, skip_special_tokens=skip, clean_up_tokenization_spaces=False))
