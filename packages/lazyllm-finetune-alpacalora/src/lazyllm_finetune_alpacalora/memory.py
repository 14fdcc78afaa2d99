"""Whether a GPU's memory asks for gradient checkpointing."""

from __future__ import annotations

import json
from pathlib import Path

from .config import RunConfig

# What a decoder layer keeps per token and hidden unit for its backward pass: LoRA on 32 layers of 4096 units in bf16
# took 25.6 GiB more at 4096 tokens without recomputation than with it (one H200). A logit: 2 bytes, 2 x 4 in the loss.
# A parameter: 2 bytes in bf16, and half as much again as room for gradients and Adam's moments of what is trained.
BYTES_PER_UNIT = 52
BYTES_PER_LOGIT = 10
BYTES_PER_PARAMETER = 3


def wants_checkpointing(config: RunConfig, parameters: int, tokens: int) -> tuple[bool, tuple[str, ...]]:
    """Return whether to recompute activations for `tokens` tokens at once, and the sentence that says why."""
    wished = config.params["gradient_checkpointing"]
    if wished is not None:
        return bool(wished), ()
    import torch

    if not torch.cuda.is_available():
        return False, ()
    model = json.loads(Path(config.base_model, "config.json").read_text(encoding="utf-8"))
    model = model.get("text_config", model)
    units = model.get("hidden_size", 0) * model.get("num_hidden_layers", 0)
    needed = tokens * (units * BYTES_PER_UNIT + model.get("vocab_size", 0) * BYTES_PER_LOGIT)
    needed += parameters * BYTES_PER_PARAMETER
    free, _ = torch.cuda.mem_get_info()
    if needed < 0.9 * free:
        return False, ()
    return True, (
        f"gradient_checkpointing -> True: about {needed / 2**30:.1f} GiB would be needed, {free / 2**30:.1f} are free.",
    )
