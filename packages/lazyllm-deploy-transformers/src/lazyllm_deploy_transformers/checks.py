"""Looks at a model folder without importing torch or transformers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lazyllm.components.model_files import read_object, tensor_shapes
from lazyllm.errors import ModelError

from .alternatives import installed
from .architectures import refusal

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder that looks servable. `name` is its last part."""

    path: Path
    name: str
    model_type: str
    config: dict[str, Any]


def check_folder(model: str, *, trust_remote_code: bool = False) -> ModelFolder:
    """Return what config.json says about the folder `model`.

    Raises:
        ModelError: no folder, or config, weights or tokenizer are missing or broken, or the model cannot be batched.
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
    if config.get("auto_map") and not trust_remote_code:
        raise ModelError(
            f"{model!r} brings Python code of its own (auto_map in config.json), which is not run unasked.",
            hint="read that code, then pass --trust-remote-code (trust_remote_code=True)",
        )
    _weights(path)
    _tokenizer(path)
    return ModelFolder(path, path.absolute().name, kind, config)


def is_text(value: str) -> bool:
    """Return whether a string can be an argument and be sent as JSON: no NUL, no half characters."""
    return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)


def one_line(name: str) -> str:
    """Return a folder's name for a log: line breaks and other control characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


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
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        if (folder / name).exists():
            read_object(folder / name)
