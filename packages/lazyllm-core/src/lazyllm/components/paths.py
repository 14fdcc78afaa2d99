"""Where models and data are looked up, and whether they are whole. Nothing heavy is imported."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..configs import config
from ..errors import ConfigError, DataError, InputError, ModelError, near

WEIGHTS = (".safetensors", ".bin", ".pt")
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
)


def _neighbours(path: Path) -> str:
    """Return the sentence that names what lies near a path that does not exist."""
    parent = path.parent
    if not parent.is_dir():
        return f"Its folder {parent} does not exist either."
    names = [entry.name for entry in os.scandir(parent)][:1000]
    return near(path.name, names) if names else f"{parent} is empty."


def has_weights(folder: str | os.PathLike[str]) -> bool:
    """Return whether weights (.safetensors, .bin, .pt) lie in `folder` or in a folder below it."""
    return any(f.endswith(WEIGHTS) for _, _, files in os.walk(folder) for f in files if f != "training_args.bin")


def find_data(path: str | os.PathLike[str]) -> str:
    """Return the absolute path of a data file or folder: as given, or below `config["data_path"]`."""
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise DataError(f"A data set is given by the path of a file or folder, not by {path!r}.")
    given = Path(path).expanduser()
    root = config["data_path"]
    below = Path(root).expanduser() / given if root else given
    for candidate in (given, below):
        if candidate.exists():
            return os.path.abspath(candidate)  # noqa: PTH100 (the user's own links are kept)
    where = f" (nor {below})" if root else ""
    raise DataError(f"Data {os.fspath(path)!r} does not exist{where}. {_neighbours(given)}")


def find_model(name: str | os.PathLike[str]) -> str:
    """Return the absolute path of a model's folder: as given, or below a folder of `config["model_path"]`."""
    if not isinstance(name, (str, os.PathLike)) or not os.fspath(name):
        raise ModelError(f"A model is given by the path of its folder, not by {name!r}.")
    given = Path(name).expanduser()
    roots = [Path(root).expanduser() for root in config["model_path"].split(":") if root]
    for root in roots:
        if not root.is_absolute():
            raise ConfigError(f"Configuration key 'model_path': {str(root)!r} is not absolute.")
    for candidate in (given, *(root / given for root in roots)):
        if candidate.is_dir():
            return os.path.abspath(candidate)  # noqa: PTH100 (the user's own links are kept)
    if given.is_file():
        raise ModelError(f"Model {os.fspath(name)!r} is a file; expected the folder that holds its files.")
    where = f", nor below {', '.join(map(str, roots))}" if roots else ""
    raise ModelError(
        f"Model {os.fspath(name)!r} is no folder here{where}. {_neighbours(given)}",
        hint="Give the path of a folder, or set LAZYLLM_MODEL_PATH to the folder that holds your models.",
    )


def check_model(folder: str) -> dict[str, Any]:
    """Return a model's config.json after checking that configuration, weights and tokenizer are there.

    Raises:
        ModelError: says which of them is missing or unreadable.
    """
    path = Path(folder, "config.json")
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{folder} is no model: it has no config.json.") from None
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise ModelError(f"{path} holds {type(found).__name__}, expected an object.")
    if not has_weights(folder):
        raise ModelError(f"{folder} has no weights: expected files ending in {', '.join(WEIGHTS)}.")
    if not any(Path(folder, name).exists() for name in TOKENIZER_FILES):
        raise ModelError(f"{folder} has no tokenizer: expected tokenizer.json and tokenizer_config.json, say.")
    return found


def check_writable(folder: str, what: str = "target_path") -> None:
    """Raise an InputError unless `folder` can be made and written to. Makes nothing."""
    path = Path(folder)
    existing = next(p for p in (path, *path.parents) if p.exists() or p.is_symlink())
    if not existing.is_dir():
        raise InputError(f"{what} {folder!r} cannot be made: {existing} is not a folder.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"{what} {folder!r} cannot be written: no permission to write to {existing}.")
