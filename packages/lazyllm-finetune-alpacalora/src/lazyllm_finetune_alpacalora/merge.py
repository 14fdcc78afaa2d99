"""The merging step: `python -m lazyllm_finetune_alpacalora.merge CONFIG.json`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from lazyllm.common.memory import free_memory
from lazyllm.errors import InputError, ModelError

from .config import RunConfig
from .proof import COARSE_TOLERANCE, TOLERANCE, check_read_back, check_trained, logits_of
from .step import run_step, say

MARGIN = 1.1  # of the weights' own size, for the adapter and what a forward pass takes
STAGES = ("starting", "loading", "comparing", "merging", "saving", "reading_back", "done")


def main() -> int:
    """Run the step and return its exit code."""
    return run_step("merge", run_merge)


def progress(stage: str) -> None:
    """Say which stage begins."""
    say(f"[progress] merge {STAGES.index(stage)}/{len(STAGES) - 1} now={stage}")


def run_merge(config: RunConfig) -> None:
    """Merge the adapter into the base model, prove the result, and publish it as `config.merge_path`.

    The proof has three parts: base and saved adapter give the logits of the model that was trained; in float32 the
    merged weights give those of base and adapter (largest difference below 1e-4, relative to the largest logit where
    that is above 1); and the published files read back bit for bit.
    """
    progress("starting")
    from .publish import MARK, fresh, publish_folder, recover

    facts = json.loads(config.facts.read_text(encoding="utf-8"))
    if facts["token"] != config.token:
        raise InputError(f"Another training has replaced the adapter in {config.target_path} meanwhile.")
    recover(Path(config.merge_path))
    made = fresh(config.merge_partial)
    model, difference = merged_model(config, facts)
    progress("saving")
    model.save_pretrained(str(made))
    complete(config, made, facts)
    progress("reading_back")
    check_read_back(config, made, model, facts)
    mark = {
        "run": facts["run"],
        "fingerprint": facts["fingerprint"],
        "base_model": config.base_model,
        "difference": difference,
    }
    (made / MARK).write_text(json.dumps(mark, indent=2), encoding="utf-8")
    publish_folder(made, Path(config.merge_path))
    progress("done")
    say(f"Merged model saved: {config.merge_path}")


def merged_model(config: RunConfig, facts: dict[str, Any]) -> tuple[Any, float]:
    """Return the merged model in the base's own precision, and the largest difference of its float32 logits."""
    from peft import PeftModel

    from .model import load_base, set_threads
    from .tied import is_tied, tie

    progress("loading")
    base = load_base(config.base_model, "auto", bool(config.params["trust_remote_code"]))
    if config.auto_threads:
        set_threads(sum(p.numel() for p in base.parameters()))
    types = {name: tensor.dtype for name, tensor in (*base.named_parameters(), *base.named_buffers())}
    tied, settings = is_tied(base), base.config.to_dict()
    exact = enough_memory(base)
    if exact:
        base.float()
    else:
        say(f"Too little memory for a merge in float32: merging in the model's own, tolerance {COARSE_TOLERANCE}.")
    adapted = PeftModel.from_pretrained(base, config.target_path).eval()
    if tied:
        tie(adapted)
    progress("comparing")
    wished = logits_of(adapted, facts["samples"])
    check_trained(wished, config.trained_logits, exact=exact and facts["precision"] == "float32")
    progress("merging")
    merged = adapted.merge_and_unload(safe_merge=True)
    found = logits_of(merged, facts["samples"])
    difference = max(float((a - b).abs().max()) for a, b in zip(wished, found, strict=True))
    largest = max(1.0, *(float(logits.abs().max()) for logits in wished))
    say(f"Largest logit difference, merged against base and adapter: {difference:.2e} (largest logit {largest:.1f}).")
    allowed = (TOLERANCE if exact else COARSE_TOLERANCE) * largest
    if not difference <= allowed:
        raise ModelError(
            f"Merged model and base with adapter differ by {difference:.2e} in a logit (> {allowed:.1e}). "
            "Nothing was published."
        )
    changed = [name for name, value in merged.config.to_dict().items() if settings.get(name) != value]
    if tied and (changed or not is_tied(merged)):
        raise ModelError(
            "Embedding and output head share one weight in the base model, and no longer do so in the merged one "
            f"(settings that differ: {', '.join(changed) or 'none'}). Nothing was published."
        )
    for name, tensor in (*merged.named_parameters(), *merged.named_buffers()):
        tensor.data = cast(name, tensor.data, types.get(name, tensor.dtype))
    return merged, difference


def cast(name: str, tensor: Any, dtype: Any) -> Any:
    """Return a merged tensor in the base's own precision; a ModelError if that has no such large numbers."""
    made = tensor.to(dtype)
    if made.isfinite().all() or not tensor.isfinite().all():  # a mask may hold infinities of its own
        return made
    raise ModelError(
        f"The merged {name} holds {float(tensor.abs().max()):.3g}, more than the base model's {made.dtype} can hold. "
        "Nothing was published.",
        hint="Lower learning_rate or lora_alpha, or take the base model in bfloat16 or float32.",
    )


def enough_memory(model: Any) -> bool:
    """Whether the model in float32, which takes the place of the one that is loaded, fits into the memory."""
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    wished = sum(4 * p.numel() for p in model.parameters())
    return bool(MARGIN * wished < free_memory() + size)


def complete(config: RunConfig, made: Path, facts: dict[str, Any]) -> None:
    """Put beside the weights what lets the folder load by itself and be asked as it was trained."""
    from .companions import copy_companions, set_chat_templates, set_stops

    copy_companions(Path(config.base_model), made, config.cp_files, code=bool(config.params["trust_remote_code"]))
    set_chat_templates(made, facts["chat_templates"])
    set_stops(made, facts["stops"])


if __name__ == "__main__":
    sys.exit(main())
