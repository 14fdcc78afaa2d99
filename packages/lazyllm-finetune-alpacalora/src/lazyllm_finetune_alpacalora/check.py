"""What is checked of a base model and of this environment before a job starts, without torch."""

from __future__ import annotations

import json
import struct
from collections.abc import Collection, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lazyllm.errors import InputError, ModelError, near

from .publish import MARK
from .targets import fits, leaf, parse_names

PACKAGES = ("datasets", "numpy", "peft", "torch", "transformers")


def check_packages(*, deepspeed: bool) -> None:
    """Raise an InputError that names each missing package and the command that installs them; imports none."""
    wanted = (*PACKAGES, "deepspeed") if deepspeed else PACKAGES
    missing = [name for name in wanted if find_spec(name) is None]
    if missing:
        raise InputError(
            f"finetune.alpacalora needs {', '.join(missing)}, not installed here.",
            hint=f"pip install {' '.join(missing)}",
        )


def check_base(folder: str, kind: str, *, trust: bool) -> None:
    """Refuse base models that cannot be trained here: quantised ones, and ones without a chat template for messages."""
    model = json.loads(Path(folder, "config.json").read_text(encoding="utf-8"))
    if model.get("quantization_config"):
        raise ModelError(f"{folder} is quantised, so no adapter can be merged into it; train on its unquantised base.")
    if kind == "messages" and not _has_chat_template(Path(folder)):
        raise ModelError(
            f"The data has messages, but the tokenizer in {folder} has no chat template to write them in.",
            hint="Take the model's chat or instruct variant, or data with instruction and output.",
        )


def _has_chat_template(folder: Path) -> bool:
    if any(folder.glob("chat_template*")):
        return True
    try:
        return bool(json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")).get("chat_template"))
    except (OSError, ValueError, AttributeError):
        return False


def check_merge_path(merge_path: str, base_model: str, root: str) -> None:
    """Refuse a merge_path of the user's own that holds files of others: it is replaced as a whole."""
    path = Path(merge_path)
    if path.exists() and path.samefile(base_model):
        raise InputError(f"merge_path is the base model's own folder: {merge_path}.")
    for inside in (base_model, root):
        if path in Path(inside).parents:
            raise InputError(
                f"merge_path={merge_path!r} holds {inside}; being replaced as a whole, it must be a folder of its own."
            )
    if path.is_dir() and any(path.iterdir()) and not (path / MARK).exists():
        raise InputError(
            f"merge_path={merge_path!r} holds files that no training put there; the merged model would replace them.",
            hint="Choose another folder, or empty this one.",
        )


def check_modules(folder: str, params: Mapping[str, Any], explicit: Collection[str]) -> None:
    """Refuse module names of the user's own that the weight files do not know.

    Only where the files tell: a model without safetensors, or with experts (loaded under other names), is judged
    by the training process once it is loaded.
    """
    tensors = tensor_names(Path(folder))
    modules = {name.rpartition(".")[0] for name in tensors}
    if not tensors or any("experts" in name for name in tensors):
        return
    modules |= {".".join(m.split(".")[:i]) for m in modules for i in range(1, m.count(".") + 1)}
    known = sorted({leaf(m) for m in modules if m and not leaf(m).isdigit()})
    for keyword in ("lora_target_modules", "modules_to_save"):
        for name in parse_names(params[keyword], keyword) if keyword in explicit else ():
            if name not in ("all-linear", "lm_head", "output") and not fits(name, modules):
                raise InputError(
                    f"{keyword}: this model has no module {name!r}. {near(name, known)}",
                    hint=f"Its modules are: {', '.join(known)}.",
                )


def tensor_names(folder: Path) -> set[str]:
    """Return the names of all tensors in a folder's safetensors files, from their headers; empty if it has none."""
    names: set[str] = set()
    for file in sorted(folder.glob("*.safetensors")):
        names.update(_header(file))
    return names - {"__metadata__"}


def _header(file: Path) -> Iterable[str]:
    size = file.stat().st_size
    with file.open("rb") as stream:
        first = stream.read(8)
        length = struct.unpack("<Q", first)[0] if len(first) == 8 else size
        if length > size - 8:
            raise ModelError(f"{file} is no whole safetensors file: its header is cut off.")
        try:
            header = json.loads(stream.read(length))
        except ValueError:
            raise ModelError(f"{file} is no safetensors file: its header is no JSON.") from None
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    if ends and max(ends) + 8 + length > size:
        raise ModelError(f"{file} is cut off: {size} bytes, but its header tells of {max(ends) + 8 + length}.")
    return list(header)
