"""What is checked of a base model before a job starts, without torch."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lazyllm.components.model_files import read_object
from lazyllm.errors import ModelError, near

from .weights import folder_shapes

AUTO_CLASS = "AutoModelForCausalLM"
_KINDS = re.compile(r"^MODEL_FOR_CAUSAL_LM_MAPPING_NAMES = OrderedDict\($(.*?)^\)$", re.MULTILINE | re.DOTALL)


def check_base(folder: str, kind: str, *, trust: bool) -> None:
    """Refuse base models that cannot be trained here.

    These are quantised ones, ones that transformers does not know or would load with code of their own, ones with
    broken or missing files, and, for messages, ones without a chat template.
    """
    path = Path(folder)
    model = read_object(path / "config.json")
    if model.get("quantization_config"):
        raise ModelError(f"{folder} is quantised, so no adapter can be merged into it; train on its unquantised base.")
    _check_kind(folder, model, trust)
    folder_shapes(path)
    if not any(file for pattern in ("*.safetensors", "pytorch_model*.bin") for file in path.glob(pattern)):
        raise ModelError(f"{folder} has no weights that transformers loads: *.safetensors or pytorch_model*.bin.")
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        if (path / name).exists():
            read_object(path / name)
    if kind == "messages" and not _has_chat_template(path):
        raise ModelError(
            f"The data has messages, but the tokenizer in {folder} has no chat template to write them in.",
            hint="Take the model's chat or instruct variant, or data with instruction and output.",
        )


def _check_kind(folder: str, model: dict[str, Any], trust: bool) -> None:
    known = causal_kinds()
    kind = model.get("model_type")
    if not known or kind in known:
        return
    if AUTO_CLASS in (model.get("auto_map") or {}):
        if trust:
            return
        raise ModelError(
            f"The model in {folder} (model_type {kind!r}) runs Python code of its own, which is not allowed here.",
            hint="If you trust that code: trust_remote_code=True, or --trust-remote-code true, "
            "or LAZYLLM_TRUST_REMOTE_CODE=1.",
        )
    nearest = near(str(kind), known)
    raise ModelError(
        f"{folder}: model_type {kind!r} in config.json is no causal language model of the transformers installed here."
        + (f" {nearest}" if nearest.startswith("Did") else "")
    )


def causal_kinds() -> frozenset[str]:
    """Return the model types that the installed transformers can load as causal language models; empty if unknown.

    Read from its source: importing it takes seconds.
    """
    spec = find_spec("transformers")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        try:
            found = _KINDS.search(Path(place, "models/auto/modeling_auto.py").read_text(encoding="utf-8"))
        except OSError:
            continue
        if found:
            return frozenset(re.findall(r'\("([^"]+)",', found[1]))
    return frozenset()


def _has_chat_template(folder: Path) -> bool:
    if any(file.stat().st_size for file in folder.glob("chat_template*")):
        return True
    settings = folder / "tokenizer_config.json"
    return settings.exists() and bool(read_object(settings).get("chat_template"))
