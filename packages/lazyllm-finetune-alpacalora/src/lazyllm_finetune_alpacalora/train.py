"""The training step: `python -m lazyllm_finetune_alpacalora.train CONFIG.json`."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import RunConfig
from .step import run_step, say

if TYPE_CHECKING:
    from .runs import Run

STARTED = time.time()


def main() -> int:
    """Run the step and return its exit code."""
    return run_step("train", run_training)


def run_training(config: RunConfig) -> None:
    """Train and publish the adapter in `config.target_path`; checkpoints, log and curve go to `config.root`."""
    say(f"Loading {config.base_model} to train it on {config.data}.")
    from .places import check_folders, unclaimed_on_failure
    from .prepare import prepare
    from .proof import trained_logits
    from .runs import find_run

    first = os.environ.get("RANK", "0") == "0"
    run = find_run(config, config.processes)
    with unclaimed_on_failure(config) if first else nullcontext():
        if first:
            check_folders(config)
        made = prepare(config, run, config.processes, STARTED)
        if run.note:
            say(run.note)
        if first:
            _make_room(config, run)
        result = made.trainer.train(resume_from_checkpoint=str(run.checkpoint) if run.checkpoint else None)
    model = made.trainer.accelerator.unwrap_model(made.trainer.model)
    logits = trained_logits(model, made.facts["samples"], made.precision)  # by all: a sharded model needs them
    if made.trainer.is_world_process_zero():
        _finish(config, made, run.id, result.metrics, logits)


def _make_room(config: RunConfig, run: Run) -> None:
    """Take what earlier runs left out of the way of one that is ready to train: not before, as it may be refused."""
    from .places import claim_checkpoints, remove_partials
    from .publish import recover
    from .runs import clean

    remove_partials(config)
    for folder in (config.target_path, config.merge_path):
        recover(Path(folder))
    claim_checkpoints(config)
    clean(config, run)


def _finish(config: RunConfig, made: Any, run: str, metrics: dict[str, Any], logits: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    from .callbacks import read_log
    from .curve import draw_curve
    from .publish import read_json, write_text

    root = Path(config.root)
    publish_adapter(config, made.trainer.accelerator.unwrap_model(made.trainer.model), made.tokenizer)
    save_file(logits, config.trained_logits)
    write_text(config.facts, json.dumps({**made.facts, "run": run, "token": config.token}, ensure_ascii=False))
    draw_curve(
        read_log(root / "train_log.jsonl"),
        root / "training_loss.png",
        f"{Path(config.base_model).name}: fine-tuning loss",
    )
    state, progress = made.trainer.state, made.progress
    summary = {
        "run": run,
        **made.summary,
        "steps": state.global_step,
        "resumed_from_step": made.resumed,
        "train_loss": metrics.get("train_loss"),
        "best_eval_loss": state.best_metric,
        "best_checkpoint": state.best_global_step or None,
        "tokens": progress.tokens,
        "seconds": round(progress.seconds, 3),
        "tokens_per_second": round(progress.tokens / progress.seconds, 1) if progress.seconds else None,
        "seconds_to_first_step": round(progress.to_first_step, 3),
        "peak_memory_bytes": peak_memory(),
    }
    if not progress.seconds:  # all steps were made before a kill: their figures stand
        former = read_json(root / "summary.json")
        summary |= {key: former[key] for key in MEASURED if key in former and former.get("run") == run}
    write_text(root / "summary.json", json.dumps(summary, indent=2))
    say(f"Adapter saved: {config.target_path}")


MEASURED = ("tokens", "seconds", "tokens_per_second", "seconds_to_first_step", "train_loss", "peak_memory_bytes")


def publish_adapter(config: RunConfig, model: Any, tokenizer: Any) -> None:
    """Save the adapter beside its place, read it back, and only then put it there."""
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import load_file

    from lazyllm.errors import ModelError

    from .publish import MARK, fresh, publish_files, publish_folder

    made = fresh(config.adapter_partial)
    model.save_pretrained(str(made), save_embedding_layers=False)
    tokenizer.save_pretrained(str(made))
    (made / "README.md").unlink(missing_ok=True)  # peft's form for a model card, with nothing filled in
    (made / MARK).write_text(json.dumps({"base_model": config.base_model}), encoding="utf-8")
    wished, found = (
        get_peft_model_state_dict(model, save_embedding_layers=False),
        load_file(made / "adapter_model.safetensors"),
    )
    if (
        not found
        or not set(found) <= set(wished)
        or not all(torch.equal(found[name], wished[name].cpu()) for name in found)
    ):
        raise ModelError(f"The adapter in {made} does not read back as it was written.")
    if config.target_path == config.root:
        publish_files(made, Path(config.target_path), last="adapter_config.json")
    else:
        publish_folder(made, Path(config.target_path))


def peak_memory() -> int:
    """Return the most memory that was used, in bytes: the device's, or this process's on a CPU."""
    import resource

    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    sys.exit(main())
