"""A model's files, looked at without torch: JSON objects, what config.json and safetensors files tell of the model."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import ModelError, near

Shapes = dict[str, tuple[int, ...]]
LONGEST_HEADER = 100_000_000  # bytes; the format's own limit
AUTO_CLASS = "AutoModelForCausalLM"
# endings of class names in config.json's `architectures`, and what such models do instead of generating text
OTHER_TASKS = {
    "ForSequenceClassification": "classifies texts",
    "ForTokenClassification": "labels words",
    "ForQuestionAnswering": "marks answers in a text",
    "ForMaskedLM": "fills gaps in a text",
}
_KINDS = re.compile(r"^MODEL_FOR_CAUSAL_LM_MAPPING_NAMES = OrderedDict\($(.*?)^\)$", re.MULTILINE | re.DOTALL)


def read_object(file: Path) -> dict[str, Any]:
    """Return the JSON object in a file; a ModelError if there is none."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{file.parent} has no {file.name}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{file} cannot be read as JSON: {error}.") from None
    if not isinstance(found, dict):
        raise ModelError(f"{file} holds no JSON object.")
    return found


def check_tokenizer(folder: Path) -> None:
    """Raise a ModelError for a broken tokenizer.json or tokenizer_config.json in `folder`; neither need be there."""
    if (folder / "tokenizer_config.json").exists():
        read_object(folder / "tokenizer_config.json")
    file = folder / "tokenizer.json"
    if file.exists() and "model" not in read_object(file):
        raise ModelError(f"{file} is no tokenizer: it has no 'model'.")


def tensor_shapes(file: Path) -> Shapes:
    """Return name and shape of the tensors in a safetensors file: 8 bytes of header length, JSON, then the data.

    Raises:
        ModelError: the file is no safetensors file, or shorter than its header tells.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            first = stream.read(8)
            length = struct.unpack("<Q", first)[0] if len(first) == 8 else size
            if length > min(size - 8, LONGEST_HEADER):
                raise ModelError(f"{file} is no safetensors file, or it is cut off.")
            raw = stream.read(length)
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror or error}.") from None
    try:
        entries = {name: entry for name, entry in json.loads(raw).items() if name != "__metadata__"}
        end = max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0) + 8 + length
        shapes = {name: tuple(int(n) for n in entry["shape"]) for name, entry in entries.items()}
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        raise ModelError(f"{file} is no safetensors file: its header cannot be read.") from None
    if size < end:
        raise ModelError(f"{file} is cut off: {size} bytes, but its header tells of {end}.")
    return shapes


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


def brings_code(config: Mapping[str, Any]) -> bool:
    """Return whether config.json names a causal language model among Python code of the model's own."""
    own = config.get("auto_map")
    return isinstance(own, Mapping) and AUTO_CLASS in own


def needs_code(config: Mapping[str, Any]) -> bool:
    """Return whether a model loads only by Python code of its own: the installed transformers lacks its type."""
    return brings_code(config) and str(config.get("model_type")) not in causal_kinds()


def why_not_causal(config: Mapping[str, Any]) -> str | None:
    """Return a sentence that tells why a model with this config.json generates no text here, None if it may.

    Models with a causal language model of their own (`brings_code`) are judged by their architecture alone.
    """
    classes = config.get("architectures")
    for name in map(str, classes if isinstance(classes, list) else ()):
        for ending, does in OTHER_TASKS.items():
            if name.endswith(ending):
                return f"its architecture {name} {does} and generates none."
    if config.get("is_encoder_decoder"):
        return f"its model_type {config.get('model_type')!r} is an encoder-decoder, no causal language model."
    known, kind = causal_kinds(), config.get("model_type")
    if not known or (isinstance(kind, str) and kind in known) or brings_code(config):
        return None
    if not isinstance(kind, str):
        return "its config.json names no model_type."
    nearest = near(kind, known)
    return f"its model_type {kind!r} in config.json is no causal language model of the transformers installed here." + (
        f" {nearest}" if nearest.startswith("Did") else ""
    )


def positions(config: Mapping[str, Any]) -> int | None:
    """Return the tokens of context that config.json tells of, None if it does not."""
    text = config.get("text_config")
    config = text if isinstance(text, Mapping) else config
    found = config.get("max_position_embeddings") or config.get("n_positions")
    return found if isinstance(found, int) and found > 0 else None
