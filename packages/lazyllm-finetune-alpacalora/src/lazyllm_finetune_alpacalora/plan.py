"""From keywords, data and machine to a plan: untouched defaults give way and say so, explicit values never do."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from lazyllm.components.model_files import positions
from lazyllm.errors import InputError

# the best checkpoint is chosen by the loss of the held-out samples: fewer would choose by chance
FEWEST_HELD_OUT = 10


@dataclass(frozen=True, slots=True)
class Batch:
    """How a global batch is made: samples a device takes at once, and how often before a step."""

    micro: int
    accumulation: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Schedule:
    """Steps in all and the intervals in steps. `eval_steps` is 0 where nothing is held out."""

    total: int
    warmup: int
    eval_steps: int
    save_steps: int
    notes: tuple[str, ...] = ()


def plan_validation(params: Mapping[str, Any], explicit: Collection[str], count: int) -> tuple[int, tuple[str, ...]]:
    """Return how many of `count` samples are held out."""
    wished = int(params["val_set_size"])
    if "val_set_size" in explicit:
        if wished >= count:
            raise InputError(f"val_set_size={wished} leaves nothing to train on: the data has {count} samples.")
        return wished, ()
    fitting = min(wished, count // 10)
    if fitting < FEWEST_HELD_OUT:
        fitting = 0
    if fitting == wished or wished == 0:
        return fitting, ()
    if not fitting:
        return 0, (f"val_set_size {wished} -> 0: of {count} samples none is held out; the last checkpoint wins.",)
    return fitting, (f"val_set_size {wished} -> {fitting}: at most 10 % of the {count} samples.",)


def plan_length(
    params: Mapping[str, Any], explicit: Collection[str], model: Mapping[str, Any]
) -> tuple[int, int, tuple[str, ...]]:
    """Return cutoff_len and filter_nums for the positions that `model` (its config.json) has.

    Rotary positions have no hard end, so more of them, asked for explicitly, are obeyed.
    """
    cutoff, keep = int(params["cutoff_len"]), int(params["filter_nums"])
    limit = positions(model)
    if limit is None or cutoff <= limit:
        return cutoff, keep, ()
    if "cutoff_len" in explicit:
        text = model.get("text_config")
        if any(key.startswith("rope") for key in (text if isinstance(text, Mapping) else model)):
            return (
                cutoff,
                keep,
                (f"cutoff_len {cutoff} is more than the {limit} positions the model was made for.",),
            )
        raise InputError(f"cutoff_len={cutoff} is more than the {limit} positions that this model has.")
    notes = [f"cutoff_len {cutoff} -> {limit}: the positions that the model has."]
    if "filter_nums" not in explicit and keep > limit:
        notes.append(f"filter_nums {keep} -> {limit}: longer samples are left out.")
        keep = limit
    return limit, keep, tuple(notes)


def plan_batch(params: Mapping[str, Any], explicit: Collection[str], world: int = 1) -> Batch:
    """Return micro-batch and accumulation for `world` processes: batch // micro, then // world."""
    batch, micro = int(params["batch_size"]), int(params["micro_batch_size"])
    notes = []
    if micro > batch:
        notes.append(f"micro_batch_size {micro} -> {batch}: no more than batch_size.")
        micro = batch
    accumulation = batch // micro // world
    if not accumulation and "micro_batch_size" not in explicit and batch >= world:
        micro = batch // world
        notes.append(
            f"micro_batch_size {params['micro_batch_size']} -> {micro}: batch_size {batch} over {world} processes."
        )
        accumulation = 1
    if not accumulation:
        raise InputError(
            f"batch_size={batch} is too small: {world} processes of micro_batch_size={micro} take {micro * world}."
        )
    if (real := micro * accumulation * world) != batch:
        notes.append(
            f"A step takes {real} samples: batch_size {batch} is no multiple of {micro} samples on {world} process(es)."
        )
    return Batch(micro, accumulation, tuple(notes))


def plan_schedule(
    params: Mapping[str, Any], explicit: Collection[str], train: int, held_out: int, batch: Batch, world: int = 1
) -> Schedule:
    """Return steps and intervals for `train` samples, counted as transformers' Trainer counts them."""
    rounds = math.ceil(train / (batch.micro * world))
    total = math.ceil(float(params["num_epochs"]) * max(1, math.ceil(rounds / batch.accumulation)))
    if params["max_steps"] > 0:
        total = int(params["max_steps"])
    notes = []
    warmup = int(params["warmup_steps"])
    if "warmup_steps" in explicit:
        if warmup >= total:
            raise InputError(f"warmup_steps={warmup} never ends: the training has {total} steps.")
    elif warmup > total // 10:
        notes.append(f"warmup_steps {warmup} -> {total // 10}: at most 10 % of the {total} steps.")
        warmup = total // 10
    evaluate, save = int(params["eval_steps"]), int(params["save_steps"])
    if "eval_steps" in explicit and not held_out:
        raise InputError(
            f"eval_steps={evaluate}, but of {train} samples none is held out to evaluate on.",
            hint="Set val_set_size, or give a valset.",
        )
    if "save_steps" in explicit and "eval_steps" not in explicit:
        evaluate = save
    elif "eval_steps" in explicit and "save_steps" not in explicit:
        save = evaluate
    elif "eval_steps" not in explicit and evaluate >= total > 1:
        evaluate = save = math.ceil(total / 4)
        notes.append(f"eval_steps and save_steps 200 -> {save}: the training has {total} steps.")
    return Schedule(total, warmup, evaluate if held_out else 0, save, tuple(notes))


def plan_deepspeed(
    params: Mapping[str, Any], explicit: Collection[str], gpus: int, installed: bool
) -> tuple[str, tuple[str, ...]]:
    """Return the DeepSpeed configuration to use on `gpus` GPUs, '' for none."""
    wished = str(params["deepspeed"])
    if not wished:
        return "", ()
    if "deepspeed" in explicit:
        if not installed:
            raise InputError(
                f"deepspeed={wished!r} was asked for, but deepspeed is not installed.", hint="pip install deepspeed"
            )
        return wished, ()
    if gpus < 2:
        return "", ("deepspeed is not used: it is for several GPUs.",)
    if not installed:
        return "", ("deepspeed is not used: it is not installed (pip install deepspeed).",)
    return wished, ()
