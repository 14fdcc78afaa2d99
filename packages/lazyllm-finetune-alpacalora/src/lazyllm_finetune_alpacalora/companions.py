"""The files beside a model's weights: tokenizer, chat template, generation settings, the user's own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lazyllm.components.model_files import read_object

from .publish import TOKENIZER

CODE = ("*.py",)
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".h5", ".msgpack", ".gguf", ".onnx", ".index.json")


def copy_companions(base: Path, made: Path, cp_files: str, *, code: bool) -> None:
    """Copy tokenizer files, generation settings and all that matches the glob `cp_files` from the base model.

    Weights and config.json are never copied: the merged ones stand. `code`: the model's own Python files too.
    """
    patterns = [*TOKENIZER, "generation_config.json", *([cp_files] if cp_files else []), *(CODE if code else ())]
    for file in _matching(base, patterns):
        if file.name != "config.json" and not file.name.endswith(_WEIGHTS):
            place = made / file.relative_to(base)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, place)
    if code:
        wished = read_object(base / "config.json").get("auto_map")
        if wished:
            _save(made / "config.json", {**read_object(made / "config.json"), "auto_map": wished})


def set_chat_template(made: Path, template: str | None) -> None:
    """Make `template` the folder's only chat template, wherever the base kept its own."""
    for file in made.glob("chat_template*"):
        file.unlink()
    settings = made / "tokenizer_config.json"
    if settings.exists() and "chat_template" in (found := read_object(settings)):
        found.pop("chat_template")
        _save(settings, found)
    if template:
        (made / "chat_template.jinja").write_text(template, encoding="utf-8")


def set_stops(made: Path, stops: Iterable[int]) -> None:
    """Let generation end at each of the tokens `stops`, besides those at which the base model ends."""
    file = made / "generation_config.json"
    found = read_object(file) if file.exists() else {}
    known = found.get("eos_token_id")
    before = known if isinstance(known, list) else [] if known is None else [known]
    merged = list(dict.fromkeys([*before, *stops]))
    _save(file, {**found, "eos_token_id": merged[0] if len(merged) == 1 else merged})


def _matching(folder: Path, patterns: Iterable[str]) -> list[Path]:
    return sorted({file for pattern in patterns for file in folder.glob(pattern) if file.is_file()})


def _save(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
