"""The trainer's keywords: defaults, and what each may be. Checked by name, in the caller's process."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from lazyllm.components.model_files import read_object
from lazyllm.components.paths import as_path
from lazyllm.errors import InputError, ModelError

from .targets import DEFAULT_SAVED, DEFAULT_TARGETS, parse_names, parse_targets

DS_CONFIG = str(Path(__file__).parent / "ds_config.json")

LARGEST = 2**31 - 1

DEFAULTS: Mapping[str, Any] = {
    "data_path": None,
    "batch_size": 64,
    "micro_batch_size": 4,
    "num_epochs": 2,
    "learning_rate": 5e-4,
    "cutoff_len": 1030,
    "filter_nums": 1024,
    "val_set_size": 200,
    "lora_r": 8,
    "lora_alpha": 32,
    "lora_dropout": 0.05,
    "lora_target_modules": DEFAULT_TARGETS,
    "modules_to_save": DEFAULT_SAVED,
    "deepspeed": DS_CONFIG,
    "prompt_template_name": "alpaca",
    "train_on_inputs": True,
    "show_prompt": False,
    "nccl_port": 19081,
    "warmup_steps": 100,
    "max_steps": -1,
    "save_steps": 200,
    "eval_steps": 200,
    "seed": 42,
    "gradient_checkpointing": None,
    "trust_remote_code": None,
}

TYPES: Mapping[str, type] = {
    "data_path": str,
    "num_epochs": float,
    "lora_alpha": float,
    "gradient_checkpointing": bool,
    "trust_remote_code": bool,
}
"""What the command line is to read, where the default does not tell: nothing, or a whole number where any will do."""


def check_params(given: Mapping[str, Any], explicit: Collection[str]) -> dict[str, Any]:
    """Return the keywords with their final types; an InputError names the first that cannot be used."""
    params = dict(given)
    for name, check in _CHECKS.items():
        params[name] = check(name, params[name])
    if params["micro_batch_size"] > params["batch_size"] and "micro_batch_size" in explicit:
        raise InputError(
            f"micro_batch_size={params['micro_batch_size']} is larger than batch_size={params['batch_size']}; "
            "a device cannot take more samples at once than the whole batch has."
        )
    if {"save_steps", "eval_steps"} <= set(explicit) and params["save_steps"] % params["eval_steps"]:
        raise InputError(
            f"save_steps={params['save_steps']} is no multiple of eval_steps={params['eval_steps']}; "
            "the best checkpoint can only be told among those that were evaluated."
        )
    if "val_set_size" in explicit and params["val_set_size"] == 0 and "eval_steps" in explicit:
        raise InputError(f"eval_steps={params['eval_steps']} with val_set_size=0: there is nothing to evaluate on.")
    parse_targets(params["lora_target_modules"])
    parse_names(params["modules_to_save"], "modules_to_save")
    if params["deepspeed"]:
        file = as_path(params["deepspeed"], "deepspeed")
        if not file.is_file():
            raise InputError(
                f"deepspeed={params['deepspeed']!r}: no such file; expected a DeepSpeed configuration, or '' for none."
            )
        try:
            read_object(file)
        except ModelError as error:
            raise InputError(f"deepspeed: {error.message}") from None
        params["deepspeed"] = str(file.absolute())
    return params


def _number(name: str, value: Any, wanted: str) -> float:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise InputError(f"{name}={value!r} is no number; expected {wanted}.") from None
    if isinstance(value, int) and abs(value) > 2**63:  # more than a float holds, or than Python writes out
        raise InputError(f"{name} is too large; expected {wanted}.")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError(f"{name}={value!r} cannot be used; expected {wanted}.")
    return value


def _whole(least: int, wanted: str, most: int = LARGEST) -> Callable[[str, Any], int]:
    def check(name: str, value: Any) -> int:
        number = _number(name, value, wanted)
        if number != int(number) or not least <= number <= most:
            raise InputError(f"{name}={value!r} cannot be used; expected {wanted}.")
        return int(number)

    return check


def _real(low: float, high: float, wanted: str, *, closed: bool = False) -> Callable[[str, Any], float]:
    def check(name: str, value: Any) -> float:
        number = _number(name, value, wanted)
        if not (low <= number if closed else low < number) or not number < high:
            raise InputError(f"{name}={value!r} cannot be used; expected {wanted}.")
        # one number has one form, however it was given: a run is known again by its keywords
        return int(number) if isinstance(DEFAULTS[name], int) and number == int(number) else float(number)

    return check


def _truth(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise InputError(f"{name}={value!r} cannot be used; expected True or False.")


def _maybe_truth(name: str, value: Any) -> bool | None:
    return None if value is None else _truth(name, value)


def _text(name: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, (str, Path)):
        raise InputError(f"{name}={value!r} cannot be used; expected a name or path, as text.")
    return str(value)


def _max_steps(name: str, value: Any) -> int:
    if value is None or value == -1:
        return -1
    return _whole(1, "a whole number above 0, or -1 for as many as num_epochs makes")(name, value)


_COUNT = _whole(1, "a whole number above 0")
_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "batch_size": _COUNT,
    "micro_batch_size": _COUNT,
    "num_epochs": _real(0, 1e6, "a number above 0 and below 1000000"),
    "learning_rate": _real(0, math.inf, "a number above 0"),
    "cutoff_len": _whole(2, "a whole number of tokens above 1"),
    "filter_nums": _whole(2, "a whole number of tokens above 1"),
    "val_set_size": _whole(0, "a whole number of samples, 0 for none"),
    "lora_r": _COUNT,
    "lora_alpha": _real(0, math.inf, "a number above 0"),
    "lora_dropout": _real(0, 1, "a number from 0 to below 1", closed=True),
    "deepspeed": _text,
    "prompt_template_name": _text,
    "train_on_inputs": _truth,
    "show_prompt": _truth,
    "nccl_port": _whole(1, "a port from 1 to 65535", 65535),
    "warmup_steps": _whole(0, "a whole number of steps, 0 for none"),
    "max_steps": _max_steps,
    "save_steps": _COUNT,
    "eval_steps": _COUNT,
    "seed": _whole(0, "a whole number from 0 to 4294967295", 2**32 - 1),
    "gradient_checkpointing": _maybe_truth,
    "trust_remote_code": _maybe_truth,
}
