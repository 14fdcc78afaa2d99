"""Records to token ids and labels. A label of -100 takes a token out of the loss."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lazyllm.errors import DataError, ModelError

from .calls import ready
from .callstyle import Styles
from .chat import Span, answered, assistant_spans, render
from .data import Kind, Record
from .template import Template

IGNORED = -100


class Tokenizer(Protocol):
    """What is used of a transformers tokenizer."""

    eos_token_id: Any
    eos_token: Any
    is_fast: bool

    def __call__(self, text: Any, **options: Any) -> Any: ...
    def apply_chat_template(self, conversation: Any, **options: Any) -> Any: ...
    def convert_ids_to_tokens(self, ids: Any) -> Any: ...


@dataclass(slots=True)
class Encoded:
    """Samples ready for training, how many records were left out and why, and how many lost turns without an answer."""

    input_ids: list[list[int]]
    labels: list[list[int]]
    too_long: int = 0
    nothing_to_learn: int = 0
    unanswered: int = 0

    def __len__(self) -> int:
        return len(self.input_ids)


def prefix_ids(tokenizer: Tokenizer) -> list[int]:
    """Return what the tokenizer puts before every text: usually one token or none."""
    plain = list(tokenizer("x", add_special_tokens=False)["input_ids"])
    full = list(tokenizer("x")["input_ids"])
    for start in range(len(full) - len(plain) + 1):
        if full[start : start + len(plain)] == plain:
            return full[:start]
    return []


@dataclass(frozen=True, slots=True)
class Encoder:
    """Encodes one kind of record.

    Args:
        cutoff_len: most tokens that a sample keeps.
        filter_nums: samples of as many tokens or more, after the cut, are left out.
        train_on_inputs: False takes the prompt (chats: all but the assistant's turns) out of the loss.
    """

    tokenizer: Tokenizer
    kind: Kind
    template: Template
    cutoff_len: int
    filter_nums: int
    train_on_inputs: bool

    def encode(self, records: Iterable[Record]) -> Encoded:
        """Encode all records; a DataError if none is left."""
        if self.tokenizer.eos_token_id is None:
            raise ModelError(
                "The model's tokenizer has no end-of-sequence token, so the model could never learn to stop."
            )
        one = self._alpaca if self.kind == "alpaca" else self._chat
        prefix = prefix_ids(self.tokenizer) if self.kind == "alpaca" else []
        done, styles = Encoded([], []), Styles(self.tokenizer)
        count = 0
        for record in records:
            count += 1
            if self.kind == "messages" and record["messages"][-1]["role"] != "assistant":
                record = {**record, "messages": answered(record["messages"])}
                done.unanswered += 1
            if self.kind == "messages" and any("tool_calls" in message for message in record["messages"]):
                record = {**record, "messages": ready(record["messages"], as_text=styles.of(record).as_text)}
            ids, labels = one(record, prefix)
            if len(ids) >= self.filter_nums:
                done.too_long += 1
            elif all(label == IGNORED for label in labels[1:]):
                done.nothing_to_learn += 1
            else:
                done.input_ids.append(ids)
                done.labels.append(labels)
        if not done.input_ids:
            raise DataError(
                f"None of the {count} records is left to train on: {done.too_long} have filter_nums={self.filter_nums} "
                f"tokens or more, {done.nothing_to_learn} hold no answer within cutoff_len={self.cutoff_len} tokens.",
                hint="Raise filter_nums and cutoff_len, or shorten the records.",
            )
        return done

    def _alpaca(self, record: Record, prefix: list[int]) -> tuple[list[int], list[int]]:
        prompt = self.template.prompt(record)
        asked = prefix + self._ids(prompt)
        ids = prefix + self._ids(prompt + record["output"])
        if ids[: len(asked)] != asked:
            # a token spans the border; a served model is asked with the prompt's own tokens
            ids = asked + self._ids(record["output"])
        return self._finish(ids, [0] * len(asked) + [1] * (len(ids) - len(asked)))

    def _chat(self, record: Record, prefix: list[int]) -> tuple[list[int], list[int]]:
        spans: list[Span] = []
        if self.train_on_inputs:  # all is learnt, wherever the assistant speaks
            text = render(self.tokenizer, record, record["messages"])
        else:
            text, spans = assistant_spans(self.tokenizer, record)
        if self.tokenizer.is_fast:
            both = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
            ids = list(both["input_ids"])
            learn = [int(any(a < end and b > start for start, end in spans)) for a, b in both["offset_mapping"]]
        else:
            ids, learn = [], []
            at = 0
            for start, end in [*spans, (len(text), len(text))]:
                for piece, flag in ((text[at:start], 0), (text[start:end], 1)):
                    found = self._ids(piece) if piece else []
                    ids += found
                    learn += [flag] * len(found)
                at = end
        return self._finish(ids, learn, closed=text.rstrip().endswith(str(self.tokenizer.eos_token)))

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _finish(self, ids: list[int], learn: Sequence[int], closed: bool = False) -> tuple[list[int], list[int]]:
        eos = self.tokenizer.eos_token_id
        ids, flags = ids[: self.cutoff_len], list(learn[: self.cutoff_len])
        if not closed and len(ids) < self.cutoff_len and (not ids or ids[-1] != eos):
            ids, flags = [*ids, eos], [*flags, 1]
        if self.train_on_inputs:
            return ids, list(ids)
        return ids, [token if flag else IGNORED for token, flag in zip(ids, flags, strict=True)]
