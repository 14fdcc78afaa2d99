"""Text to tokens and back, with the model's tokenizer and chat template."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .protocol.errors import ApiError
from .protocol.tools import Offered
from .toolcalls import Format
from .toolformats import ToolStyle, check_tools, find_style, fit_calls

# chat_template too: a client's own program could keep the only tokenizer thread busy forever
_RESERVED = frozenset(
    {"chat_template", "conversation", "messages", "tokenize", "tokenizer_kwargs", "return_dict", "return_tensors"}
    | {"padding", "truncation"}
)


class Text:
    """Encodes on one thread of its own: a long prompt must not hold up other answers, and tokenizers are not shared."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._thread = ThreadPoolExecutor(1, "tokenizer")
        self._decode = _decode(tokenizer)
        # the texts of single tokens, at most the vocabulary: each step of an answer asks for one again
        self._known: dict[bool, dict[int, str]] = {False: {}, True: {}}
        self._bytes = {char: byte for byte, char in _byte_level().items()}
        self._has_template = bool(getattr(tokenizer, "chat_template", None))
        self.style = find_style(self._render) if self._has_template else ToolStyle()
        self._hidden = _hidden(tokenizer, self.style.format)

    def _render(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> str:
        return str(
            self._tokenizer.apply_chat_template(messages, tools=tools, tokenize=False, add_generation_prompt=True)
        )

    async def encode(self, text: str) -> list[int]:
        """Return the tokens of a bare prompt, with the special ones that the model expects around it."""
        return await self._run(lambda: self._tokenizer(text)["input_ids"], "prompt")

    async def encode_chat(
        self, messages: list[dict[str, Any]], options: dict[str, Any], tools: Offered | None = None
    ) -> list[int]:
        """Return the tokens of a conversation as the model's chat template writes it, ready for the answer.

        Raises:
            ApiError: the model has no template, or the template refuses the messages or has no use for the tools.
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
        messages = fit_calls(messages, self.style)

        def run() -> list[int]:
            options.setdefault("add_generation_prompt", True)
            written = self._tokenizer.apply_chat_template(messages, tokenize=False, **options)
            return list(self._tokenizer(written, add_special_tokens=False)["input_ids"])

        return await self._run(run, "messages")

    async def _run(self, work: Callable[[], list[int]], param: str) -> list[int]:
        try:
            return list(await asyncio.get_running_loop().run_in_executor(self._thread, work))
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
    kind, core = type(tokenizer), getattr(tokenizer, "_tokenizer", None)
    decode: Any = getattr(core, "decode", None)
    own = getattr(kind, "_decode", None), kind.decode
    usual = [getattr(f, "__module__", "") for f in own] == [
        "transformers.tokenization_utils_tokenizers",
        "transformers.tokenization_utils_base",
    ]
    if usual and decode:
        return lambda ids, skip: str(decode(ids, skip_special_tokens=skip))
    return lambda ids, skip: str(tokenizer.decode(ids, skip_special_tokens=skip, clean_up_tokenization_spaces=False))


def _byte_level() -> dict[int, str]:
    """Return the characters by which byte-level tokenizers write bytes: printable Latin-1 stands for itself."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {byte: chr(byte) for byte in plain}
    others = (byte for byte in range(256) if byte not in table)
    return table | {byte: chr(256 + i) for i, byte in enumerate(others)}
