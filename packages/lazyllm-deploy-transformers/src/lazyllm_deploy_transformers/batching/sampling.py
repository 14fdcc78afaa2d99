"""How one sequence's tokens are chosen; holds no tensors, so that requests can be checked without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A chosen token's log-probability and the most likely (token, log-probability) at its place."""

    logprob: float
    top: tuple[tuple[int, float], ...]


@dataclass(eq=False, slots=True)
class Sampling:
    """One sequence's sampling parameters and what they need to remember.

    temperature 0 takes the most likely token. top_k 0, top_p 1 and min_p 0 cut nothing. `logprobs` is the number of
    alternatives to record, None for no record. `seen` are the prompt's tokens, for the repetition penalty.
    The parameters travel inside the library's request, which it may copy when memory runs short: copies are this
    very object, since it counts on.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    logprobs: int | None = None
    seen: frozenset[int] = frozenset()
    counts: dict[int, int] = field(default_factory=dict)
    records: list[TokenRecord] = field(default_factory=list)
    generator: Any = None

    def __deepcopy__(self, memo: object) -> Sampling:
        return self

    @property
    def penalised(self) -> bool:
        return bool(self.presence_penalty or self.frequency_penalty or self.repetition_penalty != 1.0)

    @property
    def plain(self) -> bool:
        """Whether the most likely token is all that is asked for: nothing to do beside the library's argmax."""
        return not (self.temperature or self.penalised or self.logit_bias or self.logprobs is not None)


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a request that says nothing gets: the model's generation_config."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Defaults:
        """Read generation_config.json's values: without `do_sample` the most likely token is taken."""

        def value(name: str, default: float) -> float:
            found = values.get(name)
            return default if found is None else float(found)

        return cls(
            temperature=value("temperature", 1.0) if values.get("do_sample") else 0.0,
            top_p=value("top_p", 1.0),
            top_k=int(value("top_k", 0)),
            min_p=value("min_p", 0.0),
            repetition_penalty=value("repetition_penalty", 1.0),
        )
