"""Where models and data are looked up, and whether they are whole. Nothing heavy is imported."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..configs import config
from ..errors import DataError, InputError, ModelError, near
from .model_files import read_object

LORA_FOLDER = "lazyllm_lora"
MERGE_FOLDER = "lazyllm_merge"
NAME_MAX, PATH_MAX = 255, 4096  # bytes, on Linux
WEIGHTS = (".safetensors", ".bin", ".pt")
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "tekken.json",
)


def _neighbours(path: Path) -> str:
    """Return the sentence that names what lies near a path that does not exist."""
    parent = path.absolute().parent
    if not parent.is_dir():
        return f"Its folder {parent} does not exist either."
    try:
        names = sorted(entry.name for entry in os.scandir(parent))
    except OSError as error:
        return f"{parent} cannot be read: {error.strerror}."
    nearest = near(path.name, names[:1000])
    if nearest.startswith("Did"):
        return nearest
    shown = [name for name in names if not name.startswith(".")]
    return f"{parent} has: {', '.join(shown[:8])}{', …' if len(shown) > 8 else '.'}" if shown else f"{parent} is empty."


def has_weights(folder: str | os.PathLike[str]) -> bool:
    """Return whether weights (.safetensors, .bin, .pt) lie in `folder` or in a folder below it."""
    return any(f.endswith(WEIGHTS) for _, _, files in os.walk(folder) for f in files if f != "training_args.bin")


def as_path(value: Any, what: str, error: type[InputError] = InputError) -> Path:
    """Return `value` as a path, `~` expanded; raises `error`, which names `what`, where no file can have that name."""
    if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str) or not os.fspath(value):
        raise error(f"{what} is given by a path, not by {value!r}.")
    text = os.fspath(value)
    shown = repr(text if len(text) < 200 else text[:200] + "…")
    try:
        longest = max(len(part.encode()) for part in text.split("/"))
    except UnicodeEncodeError:
        raise error(f"{what}: {shown} is no UTF-8 text; rename it, so that every tool can open it.") from None
    if "\0" in text:
        raise error(f"{what}: no path has a NUL character in it, as {shown} has.")
    if longest > NAME_MAX or len(text.encode()) >= PATH_MAX:
        raise error(f"{what}: {shown} is too long: a name has at most {NAME_MAX} bytes, a path {PATH_MAX - 1}.")
    try:
        return Path(text).expanduser()
    except RuntimeError:  # the home of a user who does not exist
        return Path(text)


def exists(path: Path, error: type[InputError] = InputError) -> bool:
    """Return whether something is at `path`; raises `error` where that cannot be known (no permission, say)."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as problem:
        raise error(f"{path} cannot be reached: {problem.strerror}.") from None
    return True


def placed_below_root(target_path: str | os.PathLike[str]) -> str:
    """Return the absolute path that a trainer uses for `target_path`: below `config["train_target_root"]` if set."""
    root = Path(config["train_target_root"]).expanduser() / Path(target_path).expanduser()
    return os.path.abspath(root)  # noqa: PTH100 (no link is resolved)


def find_data(path: str | os.PathLike[str]) -> str:
    """Return the absolute path of a data file or folder: as given, or below `config["data_path"]`."""
    given = as_path(path, "A data set", DataError)
    root = config["data_path"]
    below = Path(root).expanduser() / given if root else given
    for candidate in (given, below):
        if exists(candidate, DataError):
            return os.path.abspath(candidate)  # noqa: PTH100 (the user's own links are kept)
    where = f" (nor {below})" if root else ""
    raise DataError(
        f"Data {os.fspath(path)!r} does not exist{where}. {_neighbours(below if below.parent.is_dir() else given)}"
    )


def find_model(name: str | os.PathLike[str]) -> str:
    """Return the absolute path of a model's folder: as given, or below a folder of `config["model_path"]`."""
    given = as_path(name, "A model", ModelError)
    roots = [Path(root).expanduser() for root in config["model_path"].split(":") if root]
    if relative := [str(root) for root in roots if not root.is_absolute()]:
        from ..common.log import LOG

        LOG.warning("Configuration key 'model_path': %s is not absolute, and is left out.", ", ".join(relative))
        roots = [root for root in roots if root.is_absolute()]
    for candidate in (given, *(root / given for root in roots)):
        if exists(candidate, ModelError) and candidate.is_dir():
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
    if not exists(path, ModelError):
        raise ModelError(f"{folder} is no model: it has no config.json.", hint=_what_it_is(Path(folder)))
    found = read_object(path)
    if not has_weights(folder):
        raise ModelError(f"{folder} has no weights: expected files ending in {', '.join(WEIGHTS)}.")
    if not any(Path(folder, name).exists() for name in TOKENIZER_FILES):
        raise ModelError(f"{folder} has no tokenizer: expected tokenizer.json and tokenizer_config.json, say.")
    return found


def _what_it_is(folder: Path) -> str | None:
    merged = folder / MERGE_FOLDER
    if (merged / "config.json").exists():
        return f"It holds the results of a training; the model is {merged}."
    adapter = _adapter_base(folder / "adapter_config.json")
    return f"It holds an adapter, which needs its base model: {adapter}." if adapter else None


def _adapter_base(file: Path) -> str | None:
    try:
        return str(json.loads(file.read_text("utf-8")).get("base_model_name_or_path") or "unknown")
    except (OSError, ValueError, AttributeError):
        return None


def check_apart(folder: str, base_model: str, what: str, *, replaced: bool) -> None:
    """Raise an InputError if `folder`, which is to be written, is the base model's or lies in it.

    A folder that will be `replaced` as a whole may not hold the base model either.
    """
    path, base = Path(folder).resolve(), Path(base_model).resolve()
    if path == base or base in path.parents:
        raise InputError(
            f"{what} {folder!r} is in the base model's own folder {base_model!r}, which must stay as it is.",
            hint="Choose a folder outside it.",
        )
    if replaced and path in base.parents:
        raise InputError(
            f"{what} {folder!r} holds the base model {base_model!r}, and would be replaced as a whole.",
            hint="Choose a folder of its own.",
        )


def check_writable(folder: str, what: str = "target_path") -> None:
    """Raise an InputError unless `folder` can be made and written to. Leaves nothing behind."""
    path = Path(folder)
    existing = next(p for p in (path, *path.parents) if exists(p) or p.is_symlink())
    if not existing.is_dir():
        raise InputError(f"{what} {folder!r} cannot be made: {existing} is not a folder.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"{what} {folder!r} cannot be written: no permission to write to {existing}.")
    if os.geteuid():
        return
    trial = existing / f".lazyllm-{os.urandom(4).hex()}"  # root passes every test of permissions, in /proc too
    try:
        trial.mkdir()
        trial.rmdir()
    except OSError as error:
        raise InputError(f"{what} {folder!r} cannot be written: {existing}: {error.strerror}.") from None
