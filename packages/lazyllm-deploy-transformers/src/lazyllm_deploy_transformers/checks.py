"""Looks at a model folder without importing torch or transformers."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    config = _json(path, "config.json")
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


def one_line(name: str) -> str:
    """Return a folder's name for a log: line breaks and other control characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def _json(folder: Path, name: str) -> dict[str, Any]:
    try:
        found = json.loads((folder / name).read_bytes())
    except FileNotFoundError:
        raise ModelError(f"{str(folder)!r} has no {name}.") from None
    except (OSError, ValueError, RecursionError) as e:
        raise ModelError(f"{str(folder / name)!r} cannot be read as JSON: {e}.") from None
    if not isinstance(found, dict):
        raise ModelError(f"{str(folder / name)!r} holds no JSON object.")
    return found


def _weights(folder: Path) -> None:
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if (folder / index).exists():
            shards = _json(folder, index).get("weight_map")
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
            _safetensors(path)


def _safetensors(path: Path) -> None:
    """Compare the file's length with what its header announces: 8 bytes of header length, JSON, then the data."""
    size = path.stat().st_size
    with path.open("rb") as f:
        start = f.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > size - 8 or length > 100_000_000:
            raise ModelError(f"{str(path)!r} is no safetensors file, or was cut off.")
        try:
            header = json.loads(f.read(length))
            ends = [int(v["data_offsets"][1]) for k, v in header.items() if k != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ModelError(f"{str(path)!r} has a broken header.") from None
    expected = 8 + length + max(ends, default=0)
    if size < expected:
        raise ModelError(f"{str(path)!r} has {size} bytes; its header announces {expected}: the file was cut off.")


def _tokenizer(folder: Path) -> None:
    if not any((folder / name).exists() for name in _TOKENIZERS):
        raise ModelError(f"{str(folder)!r} has no tokenizer: expected tokenizer.json or {', '.join(_TOKENIZERS[1:3])}.")
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        if (folder / name).exists():
            _json(folder, name)
