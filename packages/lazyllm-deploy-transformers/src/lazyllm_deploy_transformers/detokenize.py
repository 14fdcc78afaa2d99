"""Token ids to text, a piece at a time, in linear time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

REPLACEMENT = "\ufffd"
_CONTEXT = 5
_WINDOW = 8


class Detokenizer:
    """Text of a growing token sequence, given out as soon as its characters are complete.

    Each step decodes only a short window: the tokens since the last text that came out, and the ones before it,
    on which a tokenizer may make spaces depend. `decode` maps token ids to text; `prompt` is what went before.
    """

    def __init__(self, decode: Callable[[list[int]], str], prompt: Sequence[int] = ()) -> None:
        self._decode = decode
        self._tokens = list(prompt[-_CONTEXT:])
        self._sure = len(self._tokens)
        self._sure_text = decode(self._tokens) if self._tokens else ""

    def push(self, token: int) -> str:
        """Return the text that `token` completes; empty inside a character of several tokens."""
        self._tokens.append(token)
        text = self._decode(self._tokens)
        pending = len(self._tokens) - self._sure
        if text.endswith(REPLACEMENT) and pending < _WINDOW:
            return ""
        return self._give(text)

    def extend(self, tokens: Sequence[int]) -> str:
        """Return what pushing `tokens` one by one would give: decoded at once, where they end with a character."""
        if len(tokens) > 1:
            text = self._decode([*self._tokens, *tokens])
            if not text.endswith(REPLACEMENT):
                self._tokens += tokens
                return self._give(text)
        return "".join(map(self.push, tokens))

    def flush(self) -> str:
        """Return what is left at the end, without a character that was cut off."""
        if len(self._tokens) == self._sure:
            return ""
        return self._give(self._decode(self._tokens)).rstrip(REPLACEMENT)

    def _give(self, text: str) -> str:
        new = text[len(self._sure_text) :]
        self._tokens = self._tokens[self._sure :] if new else self._tokens
        self._tokens = self._tokens[-_WINDOW:]
        self._sure = len(self._tokens)
        self._sure_text = self._decode(self._tokens)
        return new
