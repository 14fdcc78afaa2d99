"""What is checked of the environment and of names and folders before a job starts, without torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lazyllm.components.model_files import read_object
from lazyllm.components.paths import as_path
from lazyllm.errors import InputError

from .targets import check_apart, check_linear, check_names, check_refused, leaf, parse_names, refused_in
from .weights import folder_shapes

# what transformers calls embeddings of tokens, positions and token types: matrices, but no linear layers
EMBEDDINGS = frozenset(
    (
        *("embed_in", "embed_positions", "embed_tokens", "embedding", "embeddings", "position_embedding"),
        *("position_embeddings", "positions_embed", "relative_attention_bias", "shared", "tok_embeddings"),
        *("token_embedding", "token_type_embeddings", "tokens_embed", "word_embeddings", "wpe", "wte"),
    )
)
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


def check_model_name(name: Any) -> None:
    """Refuse what cannot begin the log file's name."""
    wrong = not isinstance(name, str) or not name or Path(name).name != name
    if wrong or len(as_path(name, "model_name").name.encode()) > 200:
        raise InputError(
            f"model_name={name!r} cannot begin a log file's name: expected text without '/', at most 200 bytes."
        )


def check_pattern(pattern: Any) -> None:
    """Refuse cp_files that is no glob below the base model's folder; '' is none."""
    usable = isinstance(pattern, str) and not Path(pattern).is_absolute() and ".." not in Path(pattern).parts
    try:
        if usable and pattern:
            pattern.encode()
            next(Path(__file__).parent.glob(pattern), None)
    except ValueError:
        usable = False
    if not usable:
        raise InputError(f"cp_files={pattern!r} is no glob of files in the base model's folder, such as 'tokeniz*'.")


def check_modules(folder: str, params: Mapping[str, Any], explicit: Collection[str]) -> None:
    """Refuse module names of the user's own that do not fit the weight files.

    Only where the files tell: a model without safetensors, or with experts (loaded under other names), is judged
    by the training process once it is loaded.
    """
    targets, saved = (
        parse_names(params[keyword], keyword) if keyword in explicit else ()
        for keyword in ("lora_target_modules", "modules_to_save")
    )
    check_apart(targets, saved)
    check_refused(targets, refused_in(read_object(Path(folder, "config.json")).get("model_type")))
    tensors = folder_shapes(Path(folder))
    if not tensors or any("experts" in name for name in tensors):
        return
    modules = {name.rpartition(".")[0] for name in tensors}
    modules |= {".".join(m.split(".")[:i]) for m in modules for i in range(1, m.count(".") + 1)}
    matrices = {name.rpartition(".")[0] for name, shape in tensors.items() if len(shape) == 2}
    matrices = {name for name in matrices if leaf(name) not in EMBEDDINGS}
    heads = ("lm_head", "output")  # not in the files of a model that ties its weights
    targets = tuple(name for name in targets if name not in ("all-linear", *heads))
    check_names("lora_target_modules", targets, modules, shown=matrices)
    check_names("modules_to_save", [name for name in saved if name not in heads], modules)
    check_linear(targets, matrices)
