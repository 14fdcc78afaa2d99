"""Folders that appear whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

MARK = "lazyllm_finetune.json"
NAMED_TEMPLATES = "additional_chat_templates"  # a folder of all but the default one
# files of a tokenizer, as bases have them and as they are written
TOKENIZER = (
    "tokeniz*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "*.tiktoken",
    "chat_template*",
    NAMED_TEMPLATES,
)


def fresh(folder: Path) -> Path:
    """Make `folder` empty, whatever a killed run left in it."""
    remove(folder)
    folder.mkdir(parents=True)
    return folder


def remove(path: Path) -> None:
    """Remove a folder or file if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file of ours; empty if there is none, or a part of one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def recover(folder: Path) -> None:
    """Mend what a kill between the two renames of `publish_folder` left: put the former folder back, or drop it."""
    former = _former(folder)
    if former.exists():
        if folder.exists():
            remove(former)
        else:
            former.rename(folder)


def publish_folder(made: Path, folder: Path) -> None:
    """Put the whole folder `made` in the place of `folder`."""
    sync(made)
    recover(folder)
    if folder.exists():
        folder.rename(_former(folder))
    made.rename(folder)
    _sync_one(folder.parent)
    remove(_former(folder))


def publish_files(made: Path, folder: Path, last: str) -> None:
    """Move the files of `made` among those of `folder`. It counts only with `last`: first to go, last to come."""
    sync(made)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / last).unlink(missing_ok=True)
    remove(folder / NAMED_TEMPLATES)  # no folder takes the place of another, and the former tokenizer's would stay
    for file in sorted(made.iterdir(), key=lambda f: f.name == last):
        file.replace(folder / file.name)
    _sync_one(folder)
    remove(made)


def sync(folder: Path) -> None:
    """Bring all of a folder to the disk, so that a power cut after the rename leaves no empty files.

    Every file gets the mode that the user's umask asks for: safetensors are written as readable by their owner only,
    and who trains is not always who serves.
    """
    mode = 0o666 & ~_umask()
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)
        _sync_one(path)
    _sync_one(folder)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _former(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.former")
