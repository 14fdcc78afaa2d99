"""Where the assistant speaks in a rendered chat, found without help from the model's template."""

from __future__ import annotations

from typing import Any

from lazyllm.errors import DataError

Span = tuple[int, int]
_MARK = "\u2063ANSWER\u2063"


def render(tokenizer: Any, record: dict[str, Any], messages: list[dict[str, Any]], ask: bool = False) -> str:
    """Render messages by the tokenizer's chat template; `ask` opens the assistant's turn."""
    options = {"tools": record["tools"]} if record.get("tools") else {}
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=ask, **options))
    except Exception as error:  # a template may raise whatever it likes
        raise DataError(
            f"The model's chat template does not take these messages ({error}): {_brief(messages)}"
        ) from error


def assistant_spans(tokenizer: Any, record: dict[str, Any]) -> tuple[str, list[Span]]:
    """Return a chat's text and the parts (start, end in characters) that the assistant writes, end marks included."""
    messages = record["messages"]
    text = render(tokenizer, record, messages)
    return text, [_span(tokenizer, record, text, at) for at, m in enumerate(messages) if m["role"] == "assistant"]


def answered(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a chat up to the assistant's last turn: what follows has no answer, so nothing is learnt from it.

    A template may end such turns with the words that ask for an answer; an end of text there would teach to give none.
    """
    last = max((at for at, message in enumerate(messages) if message["role"] == "assistant"), default=-1)
    return messages[: last + 1]


def _span(tokenizer: Any, record: dict[str, Any], text: str, at: int) -> Span:
    messages = record["messages"]
    opening = render(tokenizer, record, messages[:at], ask=True) if at else ""
    turn = render(tokenizer, record, messages[: at + 1])
    if at and text.startswith(opening) and text.startswith(turn) and len(opening) < len(turn):
        return len(opening), len(turn)
    # a template that rewrites earlier turns: put a mark in the answer's place and see what stays around it
    marked = [*messages[:at], {**messages[at], "content": _MARK}, *messages[at + 1 :]]
    before, found, after = render(tokenizer, record, marked).partition(_MARK)
    if not found or not text.startswith(before) or not text.endswith(after):
        raise DataError(
            f"The assistant's message {at + 1} is not found in what the model's chat template made: {_brief(messages)}",
            hint="Train on the whole text with train_on_inputs=True.",
        )
    start, end = len(before), len(text) - len(after)
    closing = render(tokenizer, record, marked[: at + 1]).partition(_MARK)[2]
    if after.startswith(closing):
        end += len(closing)
    elif after.startswith(closing.rstrip()):
        end += len(closing.rstrip())
    if at and text.startswith(opening):
        start = min(start, len(opening))
    return start, end


def turn_end(tokenizer: Any) -> str:
    """Return the text that the model's chat template puts behind an assistant's answer."""
    messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": _MARK}]
    return render(tokenizer, {}, messages).partition(_MARK)[2]


def _brief(messages: list[dict[str, Any]]) -> str:
    text = repr(messages)
    return text if len(text) < 300 else text[:300] + "…"
