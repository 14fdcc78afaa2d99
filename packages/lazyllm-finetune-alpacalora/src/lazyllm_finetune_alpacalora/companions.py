"""The files beside a model's weights: tokenizer, chat template, generation settings, the user's own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lazyllm.components.model_files import read_object
from lazyllm.errors import ModelError

from .publish import NAMED_TEMPLATES, TOKENIZER, remove

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


def chat_templates(tokenizer: Any) -> dict[str, str]:
    """Return a tokenizer's chat templates by name, "default" where it has one, with line ends as a file reads back.

    Raises:
        ModelError: a name that cannot be a file's.
    """
    found = tokenizer.chat_template
    named = found if isinstance(found, dict) else {"default": found} if found else {}
    for name in named:
        if Path(name).name != name:
            raise ModelError(f"The tokenizer has a chat template {name!r}, which cannot be the name of a file.")
    return {name: text.replace("\r\n", "\n").replace("\r", "\n") for name, text in named.items()}


def set_chat_templates(made: Path, templates: Mapping[str, str]) -> None:
    """Make `templates` the folder's only ones, as `chat_templates` gives them, wherever the base kept its own."""
    for file in made.glob("chat_template*"):
        file.unlink()
    remove(made / NAMED_TEMPLATES)
    settings = made / "tokenizer_config.json"
    if settings.exists() and "chat_template" in (found := read_object(settings)):
        found.pop("chat_template")
        _save(settings, found)
    for name, text in templates.items():
        file = made / ("chat_template.jinja" if name == "default" else f"{NAMED_TEMPLATES}/{name}.jinja")
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")


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
