"""The folders and files of a run: those that a training of ours made, and those that are somebody else's."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lazyllm.errors import InputError

from .config import RunConfig
from .publish import MARK, NAMED_TEMPLATES, TOKENIZER, remove

LOCK = ".lazyllm_finetune.lock"
SHOWN = ("summary.json", "train_log.jsonl", "training_loss.png")
_TOKENIZER_MADE = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", NAMED_TEMPLATES)
ADAPTER = ("adapter_config.json", "adapter_model.safetensors", *_TOKENIZER_MADE)
LONGEST_NAME = 200
_CHECKPOINT = re.compile(r"checkpoint-\d+")


def check_places(config: RunConfig) -> None:
    """Refuse a run that would replace, remove or read what is not its own; makes nothing."""
    for what, path in (("base model", config.base_model), ("data", config.data), ("data", config.valset)):
        if path:
            _check_apart(config, what, Path(path))
    _check_merge(config)
    check_folders(config)
    _check_files(config)


def check_folders(config: RunConfig) -> None:
    """Refuse to replace folders, or to remove checkpoints, that no training of ours made."""
    for name, folder in _replaced(config).items():
        if len(os.fsencode(folder.name)) > LONGEST_NAME:
            raise InputError(f"{name}: the name {folder.name[:40]}… has more than {LONGEST_NAME} bytes.")
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{name}: {folder} is a file, and a folder would replace it.", hint=_REMEDY)
        if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).exists():
            raise InputError(
                f"{name}: {folder} holds files that no training put there; the training would replace them.",
                hint=_REMEDY,
            )


_REMEDY = "Choose another folder, or move them away."


def claim_checkpoints(config: RunConfig) -> None:
    """Make the folder of the checkpoints and mark it as ours."""
    config.checkpoints.mkdir(parents=True, exist_ok=True)
    (config.checkpoints / MARK).touch()


@contextmanager
def unclaimed_on_failure(config: RunConfig) -> Iterator[None]:
    """Remove the mark of the checkpoints' folder, and the folder, if this run made them and failed without one."""
    folder, mark = config.checkpoints, config.checkpoints / MARK
    had_folder, had_mark = folder.exists(), mark.exists()
    try:
        yield
    except BaseException:
        if not had_mark and not checkpoints_in(folder):
            mark.unlink(missing_ok=True)
            if not had_folder and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        raise


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, whole or not."""
    return [path for path in folder.iterdir() if _CHECKPOINT.fullmatch(path.name)] if folder.is_dir() else []


def remove_partials(config: RunConfig) -> None:
    """Remove what killed runs with this root, whose lock is held, left half-made."""
    for made in (config.adapter_partial, config.merge_partial):
        start = made.name.removesuffix(f"{config.token.partition('-')[2]}.partial")
        for path in made.parent.iterdir() if made.parent.is_dir() else ():
            if path.name.startswith(start) and path.name.endswith(".partial"):
                remove(path)


def _replaced(config: RunConfig) -> dict[str, Path]:
    """Return the folders that are replaced, or from which things are removed, by the keyword that names them."""
    found = {"merge_path": Path(config.merge_path), "target_path": config.checkpoints}
    return found if config.target_path == config.root else {"the adapter": Path(config.target_path), **found}


def _check_merge(config: RunConfig) -> None:
    """Refuse a merged model in the place of, or within, what else the run writes to `root`."""
    merge, root = Path(config.merge_path).resolve(), Path(config.root).resolve()
    own = (config.checkpoints.name, Path(config.log_file).name, LOCK, MARK, *SHOWN, *ADAPTER)
    if root in merge.parents and (first := merge.relative_to(root).parts[0]) in own:
        raise InputError(
            f"merge_path: {config.merge_path} lies where the training puts its own {first}.",
            hint="Choose another folder.",
        )


def _check_files(config: RunConfig) -> None:
    """Refuse to write over files in `root` and in an adapter's folder of the user's own."""
    root = Path(config.root)
    marks = (root / LOCK, Path(config.target_path, MARK), Path(config.merge_path, MARK))
    if any(mark.exists() for mark in marks):
        return
    written = [*SHOWN, *(("adapter_*", *TOKENIZER) if config.target_path == config.root else ())]
    found = sorted({file.name for pattern in written for file in root.glob(pattern)})
    if found:
        raise InputError(
            f"target_path: {root} holds {', '.join(found[:3])}{' and more' if len(found) > 3 else ''}, "
            "which no training put there; the training would write over it.",
            hint=_REMEDY,
        )


def _check_apart(config: RunConfig, what: str, given: Path) -> None:
    path, root = given.resolve(), Path(config.root).resolve()
    for folder in _replaced(config).values():
        if folder.resolve() in (path, *path.parents):
            raise InputError(f"The {what} {given} lies in {folder}, which is replaced as a whole.", hint=_MOVE)
        if what == "base model" and path in folder.resolve().parents:
            raise InputError(f"{folder} lies in the {what}'s own folder {given}.", hint="Choose another folder.")
    if path.parent == root and path.name in SHOWN:
        raise InputError(f"The {what} {given} would be written over by the training's own {path.name}.", hint=_MOVE)
    if what == "data" and path in (root, *root.parents) and path.is_dir():
        raise InputError(
            f"The data folder {given} holds target_path {config.root}, whose files would be read as data.",
            hint="Give the data file, or choose another target_path.",
        )


_MOVE = "Move it away, or choose another target_path."
