"""The first tokens: they show that batching works, and that it computes what the model computes without it."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

from lazyllm.errors import ModelError, ServiceError

from .loading import not_batched
from .sampling import Sampling

if TYPE_CHECKING:
    from .engine import Engine

_STEPS = 3
_TIMEOUT = 600.0


def reference(model: Any, vocabulary: int) -> tuple[list[int], list[tuple[int, float]]]:
    """Return a fixed prompt and the model's own next tokens with their log-probabilities, computed without a cache."""
    import torch

    prompt = [(i * 7919 + 11) % vocabulary for i in range(12)]
    found: list[tuple[int, float]] = []
    with torch.no_grad():
        for _ in range(_STEPS):
            ids = torch.tensor([[*prompt, *(t for t, _ in found)]], device=model.device)
            logprobs = model(ids, use_cache=False).logits[0, -1].float().log_softmax(-1)
            token = int(logprobs.argmax())
            found.append((token, float(logprobs[token])))
    return prompt, found


def warm_up(engine: Engine, prompt: list[int], expected: list[tuple[int, float]]) -> None:
    """Compute a few tokens through the batch and compare.

    Raises:
        ModelError: the model gives no numbers, or the batch other log-probabilities than the model alone.
        ServiceError: nothing came.
    """
    if not all(math.isfinite(own) for _, own in expected):
        raise ModelError(
            f"The model computes {expected[0][1]} for a probability: its weights are broken, or too large for "
            f"{str(engine.model.dtype).removeprefix('torch.')}.",
            hint="try --dtype float32",
        )
    sampling = Sampling(logprobs=0)
    ended = threading.Event()
    errors: list[str | None] = []

    def done(error: str | None) -> None:
        errors.append(error)
        ended.set()

    engine.probe(prompt, _STEPS, sampling, done)
    if not ended.wait(_TIMEOUT):
        raise ServiceError(f"The model gave no token within {_TIMEOUT:.0f} s.")
    if errors[0] is not None:
        raise not_batched(type(engine.model).__name__, f"the first step failed: {errors[0]}")
    # half precision rounds differently in batches; a wrong attention is off by far more
    allowed = 0.02 if engine.model.dtype.itemsize >= 4 else 0.3
    for (_, own), record in zip(expected, sampling.records, strict=True):
        if not abs(own - record.logprob) <= allowed:
            raise not_batched(
                type(engine.model).__name__,
                f"in a batch it gives other probabilities than alone ({record.logprob:.3f} for {own:.3f})",
            )
