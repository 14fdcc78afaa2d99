"""The merging step: `python -m lazyllm_finetune_alpacalora.merge CONFIG.json`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from lazyllm.common.memory import free_memory
from lazyllm.errors import InputError, ModelError

from .config import RunConfig
from .step import run_step, say

TOLERANCE = 1e-4
COARSE_TOLERANCE = 5e-2
MARGIN = 1.1  # of the weights' own size, for the adapter and what a forward pass takes


def main() -> int:
    """Run the step and return its exit code."""
    return run_step("merge", run_merge)


def run_merge(config: RunConfig) -> None:
    """Merge the adapter into the base model, prove the result, and publish it as `config.merge_path`.

    The proof has two parts: in float32 the merged weights give the logits of base and adapter (largest difference
    below 1e-4, relative to the largest logit where that is above 1), and the published files read back bit for bit.
    """
    from .publish import MARK, fresh, publish_folder, recover

    facts = json.loads(config.facts.read_text(encoding="utf-8"))
    if facts["token"] != config.token:
        raise InputError(f"Another training has replaced the adapter in {config.target_path} meanwhile.")
    recover(Path(config.merge_path))
    made = fresh(config.merge_partial)
    say("[progress] merge 0/3 loading")
    model, difference = merged_model(config, facts["samples"])
    say("[progress] merge 1/3 saving")
    model.save_pretrained(str(made))
    complete(config, made, facts)
    say("[progress] merge 2/3 reading back")
    prove(config, made, model, facts)
    mark = {
        "run": facts["run"],
        "fingerprint": facts["fingerprint"],
        "base_model": config.base_model,
        "difference": difference,
    }
    (made / MARK).write_text(json.dumps(mark, indent=2), encoding="utf-8")
    publish_folder(made, Path(config.merge_path))
    say("[progress] merge 3/3 done")
    say(f"Merged model saved: {config.merge_path}")


def merged_model(config: RunConfig, samples: list[list[int]]) -> tuple[Any, float]:
    """Return the merged model in the base's own precision, and the largest difference of its float32 logits."""
    import torch
    from peft import PeftModel

    from .model import load_base, set_threads

    base = load_base(config.base_model, "auto", bool(config.params["trust_remote_code"]))
    if config.auto_threads:
        set_threads(sum(p.numel() for p in base.parameters()))
    types = {name: tensor.dtype for name, tensor in (*base.named_parameters(), *base.named_buffers())}
    tolerance = TOLERANCE
    if enough_memory(base):
        base.float()
    else:
        tolerance = COARSE_TOLERANCE
        say(f"Too little memory for a merge in float32: merging in the model's own, tolerance {tolerance}.")
    adapted = PeftModel.from_pretrained(base, config.target_path).eval()
    inputs = [torch.tensor([ids]) for ids in samples]
    with torch.inference_mode():
        wished = [adapted(input_ids=ids, use_cache=False).logits for ids in inputs]
    merged = adapted.merge_and_unload(safe_merge=True)
    with torch.inference_mode():
        found = [merged(input_ids=ids, use_cache=False).logits for ids in inputs]
    difference = max(float((a - b).abs().max()) for a, b in zip(wished, found, strict=True))
    largest = max(1.0, *(float(logits.abs().max()) for logits in wished))
    say(f"Largest logit difference, merged against base and adapter: {difference:.2e} (largest logit {largest:.1f}).")
    if not difference <= tolerance * largest:
        raise ModelError(
            f"Merged model and base with adapter differ by {difference:.2e} in a logit (> {tolerance * largest:.1e}). "
            "Nothing was published."
        )
    for name, tensor in (*merged.named_parameters(), *merged.named_buffers()):
        tensor.data = tensor.data.to(types.get(name, tensor.dtype))
    return merged, difference


def enough_memory(model: Any) -> bool:
    """Whether the model in float32, which takes the place of the one that is loaded, fits into the memory."""
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    wished = sum(4 * p.numel() for p in model.parameters())
    return bool(MARGIN * wished < free_memory() + size)


def complete(config: RunConfig, made: Path, facts: dict[str, Any]) -> None:
    """Put beside the weights what lets the folder load by itself and be asked as it was trained."""
    from .companions import copy_companions, set_chat_template, set_stops

    copy_companions(Path(config.base_model), made, config.cp_files, code=bool(config.params["trust_remote_code"]))
    set_chat_template(made, facts["chat_template"])
    set_stops(made, facts["stops"])


def prove(config: RunConfig, made: Path, model: Any, facts: dict[str, Any]) -> None:
    """Load the made folder by itself and compare weights, tokens and chat template; a ModelError if they differ."""
    import torch

    from .model import load_base, load_tokenizer

    trust = bool(config.params["trust_remote_code"])
    again = load_base(str(made), "auto", trust)
    wished = dict(model.named_parameters())
    found = dict(again.named_parameters())
    wrong = [n for n in wished if n not in found or not torch.equal(wished[n].cpu(), found[n].to(wished[n].dtype))]
    if wrong or set(found) - set(wished):
        raise ModelError(
            f"The merged model does not read back as it was written: {', '.join(wrong[:5])}. Nothing was published."
        )
    tokenizer, base = load_tokenizer(str(made), trust), load_tokenizer(config.base_model, trust)
    if tokenizer.get_vocab() != base.get_vocab() or tokenizer.chat_template != facts["chat_template"]:
        raise ModelError(
            f"The merged model's tokenizer is not the one it was trained with: {made}. Nothing was published."
        )


if __name__ == "__main__":
    sys.exit(main())
