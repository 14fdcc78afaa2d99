"""What proves a merged model: logits of the samples, and files that read back as they were written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lazyllm.errors import ModelError

from .config import RunConfig

TOLERANCE = 1e-4
COARSE_TOLERANCE = 5e-2
MEAN_TOLERANCE = 1e-2  # models of up to 1.4 billion parameters, trained in bf16, came to 1e-3 (one H200)
LAST = 16  # positions of each sample whose logits are kept for the merging


def logits_of(model: Any, samples: list[list[int]]) -> list[Any]:
    """Return a model's logits for each sample, shape (1, tokens, vocabulary)."""
    import torch

    device = model.get_input_embeddings().weight.device
    inputs = [torch.tensor([ids], device=device) for ids in samples]
    with torch.inference_mode():
        return [model(input_ids=ids, use_cache=False).logits for ids in inputs]


def trained_logits(model: Any, samples: list[list[int]], precision: Any) -> dict[str, Any]:
    """Return what a trained model, as it is, says to the last tokens of each sample, by the sample's number.

    `precision`: the dtype in which it was trained.
    """
    import torch

    learning = model.training
    model.eval()
    device = model.get_input_embeddings().weight.device.type
    with torch.autocast(device, dtype=precision, enabled=precision != torch.float32):
        found = logits_of(model, samples)
    model.train(learning)
    return {str(at): logits[0, -LAST:].float().cpu().contiguous() for at, logits in enumerate(found)}


def check_trained(reloaded: list[Any], file: Path, *, exact: bool) -> None:
    """Compare the logits of base and reloaded adapter with those of the model that was trained.

    `exact`: both were made in float32, so that each must agree; else the mean difference counts, as single ones stray.

    Raises:
        ModelError: what was saved is not what was trained.
    """
    from safetensors.torch import load_file

    trained = load_file(file)
    for at, logits in enumerate(reloaded):
        wished = trained[str(at)]
        apart = (logits[0, -LAST:].float().cpu() - wished).abs()
        allowed = (TOLERANCE if exact else MEAN_TOLERANCE) * max(1.0, float(wished.abs().max()))
        found = float(apart.max() if exact else apart.mean())
        if not found <= allowed:
            raise ModelError(
                f"Base and saved adapter differ by {found:.2e} in a logit from the model that was trained "
                f"(> {allowed:.1e}). Nothing was published."
            )


def check_read_back(config: RunConfig, made: Path, model: Any, facts: dict[str, Any]) -> None:
    """Load the made folder by itself and compare weights, tokens and chat template; a ModelError if they differ."""
    import torch

    from .companions import chat_templates
    from .model import load_base, load_tokenizer

    trust = bool(config.params["trust_remote_code"])
    again = load_base(str(made), "auto", trust)
    wished = dict(model.named_parameters())
    found = dict(again.named_parameters())
    wrong = [n for n in wished if n not in found or not torch.equal(wished[n].cpu(), found[n].to(wished[n].dtype))]
    if wrong or set(found) - set(wished):
        raise ModelError(
            f"The merged model does not read back as it was written: "
            f"{', '.join([*wrong, *sorted(set(found) - set(wished))][:5])}. Nothing was published."
        )
    tokenizer, base = load_tokenizer(str(made), trust), load_tokenizer(config.base_model, trust)
    if tokenizer.get_vocab() != base.get_vocab() or chat_templates(tokenizer) != facts["chat_templates"]:
        raise ModelError(
            f"The merged model's tokenizer is not the one it was trained with: {made}. Nothing was published."
        )
