"""From a run's configuration to a Trainer that is ready to train."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lazyllm.errors import DataError, ModelError

from .callstyle import check_functions
from .chat import turn_end
from .companions import chat_templates
from .config import RunConfig
from .data import Kind, placed, read
from .encode import Encoder, prefix_ids
from .model import Device, add_lora, load_base, load_tokenizer, set_threads, trainable
from .modules import modules_of
from .plan import Batch, Schedule, plan_batch, plan_deepspeed, plan_length, plan_schedule, plan_validation
from .runs import Run
from .step import say
from .targets import resolve
from .template import load_template

LOG_STEPS = 10
LOG_POINTS = 20  # at least so many, where a short training would have a curve of three points
KEPT_CHECKPOINTS = 3


@dataclass(slots=True)
class Prepared:
    """A Trainer with what is needed after it: tokenizer, facts for the merging, figures for the summary, dtype."""

    trainer: Any
    tokenizer: Any
    progress: Any
    facts: dict[str, Any]
    summary: dict[str, Any]
    precision: Any
    resumed: int = 0


def prepare(config: RunConfig, run: Run, world: int, started: float) -> Prepared:
    """Read and encode the data, plan the steps, load the model and build the Trainer; says what it decided."""
    from transformers import set_seed

    from .batches import Collator, LoraTrainer
    from .callbacks import Progress
    from .checkpoints import Checkpoints

    params, trust = config.params, bool(config.params["trust_remote_code"])
    tokenizer = load_tokenizer(config.base_model, trust)
    encoder, facts = _encoder(config, tokenizer)
    train, held_out = _sets(config, encoder)
    if params["show_prompt"]:
        say(f"The first sample:\n{tokenizer.decode(train[0][0])}")
    count = len(held_out) if held_out is not None else 0
    batch = plan_batch(params, config.explicit, world)
    schedule = plan_schedule(params, config.explicit, len(train), count, batch, world)
    for note in (*batch.notes, *schedule.notes):
        say(note)

    device = Device.here()
    say(f"Training on {device.kind} in {device.precision}, {world} process(es).")
    model = load_base(config.base_model, device.dtype, trust)
    pad = _check_tokens(config, tokenizer, model, train, held_out)
    modules = modules_of(model)
    resolved = resolve(params, config.explicit, modules)
    for note in resolved.notes:
        say(note)
    set_seed(params["seed"])  # the Trainer does so too, but once the adapter is made
    model = add_lora(model, params, resolved, modules)
    model.config.use_cache = False
    model.config.pad_token_id = model.generation_config.pad_token_id = pad
    parameters, of = trainable(model)
    if config.auto_threads and device.kind == "cpu":
        set_threads(of, world)
    say(f"{parameters:,} of {of:,} parameters trained; {schedule.total} steps, {len(train)} samples, {count} held out.")

    progress = Progress(Path(config.root, "train_log.jsonl"), started)
    trainer = LoraTrainer(
        model=model,
        args=_arguments(config, batch, schedule, device, of, max(train.lengths), world),
        train_dataset=train,
        eval_dataset=held_out,
        data_collator=Collator(pad, 8 if device.kind == "cuda" else 1),
        processing_class=tokenizer,
        callbacks=[Checkpoints(run), progress],
    )
    _quiet(trainer)
    facts |= {
        "samples": [train[i][0][:64].tolist() for i in range(min(2, len(train)))],
        "fingerprint": run.fingerprint,
        "precision": device.precision,
    }
    summary = {
        "base_model": config.base_model,
        "device": device.kind,
        "precision": device.precision,
        "processes": world,
        "samples": len(train),
        "held_out": count,
        "trained_parameters": parameters,
        "parameters": of,
        "lora_target_modules": resolved.targets,
        "modules_to_save": resolved.saved,
        "micro_batch_size": batch.micro,
        "gradient_accumulation_steps": batch.accumulation,
    }
    resumed = int(run.checkpoint.name.rpartition("-")[2]) if run.checkpoint else 0
    return Prepared(trainer, tokenizer, progress, facts, summary, device.dtype, resumed)


def _encoder(config: RunConfig, tokenizer: Any) -> tuple[Encoder, dict[str, Any]]:
    """Return the encoder, and what the merged model needs to be asked as it was trained."""
    params = config.params
    kind: Kind = "messages" if "messages" in next(read(config.data)) else "alpaca"
    template = load_template(params["prompt_template_name"])
    if kind == "alpaca":
        before = tokenizer.convert_ids_to_tokens(prefix_ids(tokenizer))
        tokenizer.chat_template = template.chat_template("".join(before))
        end = ""
    else:
        if not tokenizer.chat_template:
            raise DataError(f"The data has messages, but the tokenizer in {config.base_model} has no chat template.")
        end = turn_end(tokenizer)
        for data in filter(None, (config.data, config.valset)):
            check_functions(tokenizer, placed(data))
    stops = [tokenizer.eos_token_id]
    closing = tokenizer(end, add_special_tokens=False)["input_ids"][:1]
    stops += [
        token for token in closing if token in tokenizer.all_special_ids or token in tokenizer.added_tokens_decoder
    ]
    model = json.loads(Path(config.base_model, "config.json").read_text(encoding="utf-8"))
    cutoff, keep, notes = plan_length(params, config.explicit, model)
    for note in notes:
        say(note)
    encoder = Encoder(tokenizer, kind, template, cutoff, keep, params["train_on_inputs"])
    return encoder, {"chat_templates": chat_templates(tokenizer), "stops": sorted(set(stops)), "kind": kind}


def _check_tokens(config: RunConfig, tokenizer: Any, model: Any, *sets: Any) -> int:
    """Refuse samples with tokens that the model has no embedding for; return the token to pad with."""
    known = int(model.get_input_embeddings().weight.shape[0])
    largest = max(samples.largest for samples in sets if samples is not None)
    if largest >= known:
        raise ModelError(
            f"The data holds the token {tokenizer.convert_ids_to_tokens(largest)!r}, number {largest} of the tokenizer "
            f"in {config.base_model}, but the model has embeddings for {known} tokens only, 0 to {known - 1}.",
            hint="Take the tokenizer that came with the model, or enlarge the model first (resize_token_embeddings).",
        )
    wished = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)  # it is masked, so any that the model knows will do
    return next(int(token) for token in wished if token is not None and token < known)


def _sets(config: RunConfig, encoder: Encoder) -> tuple[Any, Any]:
    from .batches import Samples

    everything = _dataset(encoder, config.data)
    if config.valset:
        return Samples(everything), Samples(_dataset(encoder, config.valset))
    held_out, notes = plan_validation(config.params, config.explicit, len(everything))
    for note in notes:
        say(note)
    if not held_out:
        return Samples(everything), None
    parts = everything.train_test_split(test_size=held_out, shuffle=True, seed=config.params["seed"])
    return Samples(parts["train"]), Samples(parts["test"])


def _dataset(encoder: Encoder, path: str) -> Any:
    import datasets

    encoded = encoder.encode(read(path))
    if encoded.too_long:
        say(f"{encoded.too_long} samples left out: filter_nums={encoder.filter_nums} tokens or more.")
    if encoded.nothing_to_learn:
        say(f"{encoded.nothing_to_learn} samples left out: no answer within cutoff_len={encoder.cutoff_len} tokens.")
    if encoded.unanswered:
        say(f"{encoded.unanswered} chats go on after the assistant's last turn: what follows it is left out.")
    return datasets.Dataset.from_dict({"input_ids": encoded.input_ids, "labels": encoded.labels})


def _arguments(
    config: RunConfig, batch: Batch, schedule: Schedule, device: Device, size: int, longest: int, world: int
) -> Any:
    from importlib.util import find_spec

    from transformers import TrainingArguments

    from .memory import wants_checkpointing

    params = config.params
    deepspeed, notes = plan_deepspeed(
        params, config.explicit, world if device.kind == "cuda" else 0, find_spec("deepspeed") is not None
    )
    recompute, reason = wants_checkpointing(config, size, longest * batch.micro)
    for note in (*notes, *reason):
        say(note)
    evaluates = schedule.eval_steps > 0
    options: dict[str, Any] = {}
    if recompute:
        options = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}}
    return TrainingArguments(
        output_dir=str(config.checkpoints),
        per_device_train_batch_size=batch.micro,
        per_device_eval_batch_size=batch.micro,
        gradient_accumulation_steps=batch.accumulation,
        num_train_epochs=params["num_epochs"],
        max_steps=params["max_steps"],
        learning_rate=params["learning_rate"],
        lr_scheduler_type="cosine",
        warmup_steps=schedule.warmup,
        logging_steps=max(1, min(LOG_STEPS, schedule.total // LOG_POINTS)),
        logging_first_step=True,
        logging_nan_inf_filter=False,
        eval_strategy="steps" if evaluates else "no",
        eval_steps=schedule.eval_steps or None,
        save_strategy="steps",
        save_steps=schedule.save_steps,
        save_total_limit=KEPT_CHECKPOINTS,
        load_best_model_at_end=evaluates,
        prediction_loss_only=True,
        include_num_input_tokens_seen="non_padding",
        remove_unused_columns=False,
        seed=params["seed"],
        bf16=device.precision == "bf16",
        fp16=device.precision == "fp16",
        use_cpu=device.kind == "cpu",
        dataloader_pin_memory=device.kind == "cuda",
        ddp_find_unused_parameters=False if world > 1 else None,
        deepspeed=deepspeed or None,
        disable_tqdm=True,
        report_to="none",
        **options,
    )


def _quiet(trainer: Any) -> None:
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
