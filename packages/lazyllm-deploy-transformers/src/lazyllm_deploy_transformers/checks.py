"""Looks at a model folder without importing torch or transformers."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lazyllm.components.model_files import (
    check_tokenizer,
    needs_code,
    positions,
    read_object,
    tensor_shapes,
    why_not_causal,
)
from lazyllm.components.paths import MERGE_FOLDER, TOKENIZER_FILES
from lazyllm.errors import ModelError

from .alternatives import installed
from .architectures import refusal
from .batching.sampling import Defaults
from .batching.sizing import check_length

_TOKENIZERS = tuple(name for name in TOKENIZER_FILES if name != "tokenizer_config.json")  # which holds no vocabulary

# quant_method in config.json → the module without which transformers cannot load such weights, where it is not its own
_QUANTISERS = {"awq": "gptqmodel", "gptq": "gptqmodel", "quanto": "optimum", "spqr": "spqr_quant"} | {
    name: name.replace("-", "_")
    for name in ("aqlm", "auto-round", "bitsandbytes", "compressed-tensors", "hqq", "quark", "torchao", "vptq")
}


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder that looks servable, and its `model_name`."""

    path: Path
    name: str
    model_type: str


def check_folder(model: str, *, trust_remote_code: bool = False, max_model_len: int | None = None) -> ModelFolder:
    """Return what the folder `model` holds.

    Raises:
        ModelError: no folder, or config, weights or tokenizer are missing or broken, or the model generates no text,
            or it cannot be batched.
        InputError: `max_model_len` is more than the context that config.json tells of.
    """
    path = Path(model)
    if not path.is_dir():
        found = "is a file" if path.exists() else "does not exist"
        raise ModelError(f"{model!r} {found}; expected a folder with config.json, weights and tokenizer.")
    config = read_object(path / "config.json")
    kind = config.get("model_type")
    if (path / "adapter_config.json").exists() and not kind:
        raise ModelError(f"{model!r} is a LoRA adapter; merge it into its base model first.")
    if not isinstance(kind, str):
        raise ModelError(f"{model!r}: config.json names no model_type.")
    if reason := refusal(config):
        raise ModelError(f"{model!r} cannot be served by deploy.transformers: {reason}.", hint=installed())
    if reason := why_not_causal(config):
        raise ModelError(f"{model!r} cannot be served by deploy.transformers: {reason}", hint=installed())
    if needs_code(config) and not trust_remote_code:
        raise own_code(model, "model")
    _quantiser(model, config)
    if context := positions(config):
        check_length(max_model_len, context)
    _weights(path)
    _tokenizer(path)
    _generation(path)
    return ModelFolder(path, model_name(path), kind)


def model_name(folder: Path) -> str:
    """Return what a model is called by: its folder's name, that of the training's folder for a merged model."""
    folder = folder.absolute()
    return (folder.parent.name if folder.name == MERGE_FOLDER else "") or folder.name


def own_code(model: str, part: str) -> ModelError:
    """Return the error for a folder whose `part` the library loads only by Python code that comes with it."""
    return ModelError(
        f"The {part} of {model!r} needs Python code of its own (auto_map), which is not run unasked.",
        hint="read that code, then pass --trust-remote-code (trust_remote_code=True)",
    )


def one_line(name: str) -> str:
    """Return a folder's name for a log: line breaks and other control characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def _quantiser(model: str, config: dict[str, Any]) -> None:
    how = config.get("quantization_config")
    method = str(how.get("quant_method")) if isinstance(how, dict) else ""
    module = _QUANTISERS.get(method)
    if module and find_spec(module) is None:
        raise ModelError(
            f"{model!r} is quantised with {method}, for which the transformers library needs {module}, not installed "
            "here.",
            hint=f"pip install {module.replace('_', '-')}",
        )


def _weights(folder: Path) -> None:
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if (folder / index).exists():
            shards = read_object(folder / index).get("weight_map")
            if not isinstance(shards, dict) or not shards:
                raise ModelError(f"{str(folder / index)!r} lists no weights.")
            files = sorted({str(name) for name in shards.values()})
            break
    else:
        files = [n for n in ("model.safetensors", "pytorch_model.bin") if (folder / n).exists()][:1]
    if not files:
        raise ModelError(f"{str(folder)!r} has no weights: expected model.safetensors or pytorch_model.bin.")
    for name in files:
        path = folder / name
        if not path.is_file() or path.stat().st_size == 0:
            raise ModelError(f"{str(path)!r} is missing or empty; the model folder is incomplete.")
        if name.endswith(".safetensors"):
            tensor_shapes(path)


def _tokenizer(folder: Path) -> None:
    if not any((folder / name).exists() for name in _TOKENIZERS):
        raise ModelError(f"{str(folder)!r} has no tokenizer: expected tokenizer.json or {', '.join(_TOKENIZERS[1:3])}.")
    check_tokenizer(folder)


def _generation(folder: Path) -> None:
    file = folder / "generation_config.json"
    if file.exists():
        values = read_object(file)
        try:
            Defaults.of(values)
        except (TypeError, ValueError, OverflowError) as e:
            raise ModelError(f"{str(file)!r} cannot be used: {e}.") from None
