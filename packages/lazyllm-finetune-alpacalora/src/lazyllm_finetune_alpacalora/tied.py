"""An embedding and an output head that share one weight: kept so while it is trained, and when it is merged.

peft trains a copy of each module of modules_to_save. It gives the head the embedding's copy only where it knows one of
the two by its name (embed_tokens, lm_head); under other names, as in GPT-2, BLOOM or Falcon, the two would part.
"""

from __future__ import annotations

from typing import Any

from lazyllm.errors import ModelError

APART = 1e-4  # of the largest output: what the order of a product's sums may change


def is_tied(model: Any) -> bool:
    """Whether the model's input embedding and output head share one weight."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    return head is not None and getattr(head, "weight", 0) is getattr(embedding, "weight", 1)


def tie(adapted: Any) -> None:
    """Give the head of a PeftModel the weight that its embedding is trained with, and see that it computes with it.

    Raises:
        ModelError: the head still computes with another weight.
    """
    model = adapted.get_base_model()
    trained = _active(model.get_input_embeddings())
    _active(model.get_output_embeddings()).weight = trained.weight
    if not is_tied(model) or not _computes_with(model.get_output_embeddings(), trained.weight):
        raise ModelError(
            f"The embedding and the output head of {type(model).__name__} share one weight, "
            "and cannot be kept so while it is trained.",
            hint="Leave both as they are: modules_to_save='[]'.",
        )


def _active(module: Any) -> Any:
    """Return what computes in a module's place: peft's copy of it, where there is one."""
    copies = getattr(module, "modules_to_save", None)
    return module if copies is None else copies[module.active_adapters[0]]


def _computes_with(head: Any, weight: Any) -> bool:
    import torch

    with torch.no_grad():
        one = torch.linspace(-1, 1, weight.shape[1], dtype=weight.dtype, device=weight.device).unsqueeze(0)
        found, wished = head(one), torch.nn.functional.linear(one, weight, getattr(head, "bias", None))
        return float((found - wished).abs().max()) <= APART * max(1.0, float(wished.abs().max()))
