"""What is checked of a base model before a job starts, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lazyllm.components.model_files import check_tokenizer, needs_code, read_object, why_not_causal
from lazyllm.errors import ModelError

from .weights import folder_shapes


def check_base(folder: str, kind: str, *, trust: bool) -> None:
    """Refuse base models that cannot be trained here.

    These are quantised ones, ones that transformers does not know or would load with code of their own, ones with
    broken or missing files, ones without an end of text, and, for messages, ones without a chat template.
    """
    path = Path(folder)
    model = read_object(path / "config.json")
    if model.get("quantization_config"):
        raise ModelError(f"{folder} is quantised, so no adapter can be merged into it; train on its unquantised base.")
    _check_kind(folder, model, trust)
    folder_shapes(path)
    if not any(file for pattern in ("*.safetensors", "pytorch_model*.bin") for file in path.glob(pattern)):
        raise ModelError(f"{folder} has no weights that transformers loads: *.safetensors or pytorch_model*.bin.")
    check_tokenizer(path)
    _check_end(path, str(model.get("model_type")))
    if (path / "generation_config.json").exists():
        read_object(path / "generation_config.json")
    if kind == "messages" and not _has_chat_template(path):
        raise ModelError(
            f"The data has messages, but the tokenizer in {folder} has no chat template to write them in.",
            hint="Take the model's chat or instruct variant, or data with instruction and output.",
        )


def _check_kind(folder: str, model: dict[str, Any], trust: bool) -> None:
    kind = model.get("model_type")
    if needs_code(model) and not trust:
        raise ModelError(
            f"The model in {folder} (model_type {kind!r}) runs Python code of its own, which is not allowed here.",
            hint="If you trust that code: trust_remote_code=True, or --trust-remote-code true, "
            "or LAZYLLM_TRUST_REMOTE_CODE=1.",
        )
    if reason := why_not_causal(model):
        raise ModelError(f"{folder} cannot be fine-tuned: {reason}")


def _check_end(folder: Path, kind: str) -> None:
    """Refuse a tokenizer that surely has no end-of-sequence token; the training asks the loaded one again."""
    settings, map_ = folder / "tokenizer_config.json", folder / "special_tokens_map.json"
    if not settings.exists() or map_.exists():
        return
    found = read_object(settings)
    # other classes have one of their own, and transformers loads Qwen's as such whatever stands here
    plain = found.get("tokenizer_class") in ("PreTrainedTokenizerFast", "TokenizersBackend")
    if plain and not found.get("eos_token") and not found.get("auto_map") and not kind.startswith("qwen"):
        raise ModelError(
            f"The tokenizer in {folder} has no end-of-sequence token, so the model could never learn to stop.",
            hint=f"Name one of its tokens as eos_token in {settings}.",
        )


def _has_chat_template(folder: Path) -> bool:
    if any(file.stat().st_size for file in folder.glob("chat_template*")):
        return True
    settings = folder / "tokenizer_config.json"
    return settings.exists() and bool(read_object(settings).get("chat_template"))
