"""Fingerprints of runs, and checkpoints from which a killed run goes on."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .config import RunConfig
from .data import data_files
from .publish import MARK, remove, write_text
from .template import template_file

COMPLETE = "lazyllm_checkpoint.json"
# the template and the DeepSpeed configuration count by their content
_NOT_IN_RESULT = ("show_prompt", "nccl_port", "data_path", "prompt_template_name", "deepspeed")


@dataclass(frozen=True, slots=True)
class Run:
    """A run's id, its fingerprint, and the checkpoint to go on from (None: from the beginning)."""

    id: str
    fingerprint: str
    checkpoint: Path | None = None
    note: str = ""


def fingerprint(config: RunConfig, world: int) -> str:
    """Return a digest of all that decides what a run learns: data, base model, keywords, number of processes."""
    digest = hashlib.sha256()
    params = {k: v for k, v in config.params.items() if k not in _NOT_IN_RESULT}
    digest.update(json.dumps([params, sorted(config.explicit), world], sort_keys=True, default=str).encode())
    for data in (config.data, config.valset):
        digest.update(b"\0set")
        for file in data_files(data) if data else ():
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    for path in (template_file(config.params["prompt_template_name"]), config.params["deepspeed"]):
        digest.update(b"\0file" + (Path(path).read_bytes() if path else b""))
    for file in sorted(Path(config.base_model).iterdir()):
        if file.is_file():
            stat = file.stat()
            digest.update(f"{file.name} {stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()


def find_run(config: RunConfig, world: int) -> Run:
    """Return the run to go on with, or a new one. Changes nothing, so that every process may ask."""
    print_of_run = fingerprint(config, world)
    new = Run(uuid.uuid4().hex, print_of_run)
    found = sorted(_complete(config.checkpoints), key=lambda c: c[0])
    if not found:
        leftovers = config.checkpoints.is_dir() and any(config.checkpoints.iterdir())
        return Run(new.id, print_of_run, note="No complete checkpoint was left: starting anew." if leftovers else "")
    step, checkpoint, mark = found[-1]
    if mark.get("fingerprint") != print_of_run:
        note = "Checkpoints of another run (other data, keywords or base model) are removed: starting anew."
        return Run(new.id, print_of_run, note=note)
    if _read(Path(config.merge_path, MARK)).get("run") == mark["run"]:
        return Run(new.id, print_of_run, note="This run was finished before: starting anew.")
    return Run(mark["run"], print_of_run, checkpoint, f"Resuming from step {step}: {checkpoint}")


def clean(config: RunConfig, run: Run) -> None:
    """Remove what earlier runs left: everything when starting anew, incomplete checkpoints when resuming."""
    if run.checkpoint is None:
        remove(config.checkpoints)
        return
    whole = {path for _, path, _ in _complete(config.checkpoints)}
    for path in config.checkpoints.iterdir():
        if path not in whole:
            remove(path)


def mark_complete(checkpoint: Path, run: Run) -> None:
    """Say that a checkpoint is whole; written after all else in it."""
    write_text(checkpoint / COMPLETE, json.dumps({"run": run.id, "fingerprint": run.fingerprint}))


def _complete(folder: Path) -> list[tuple[int, Path, Mapping[str, Any]]]:
    if not folder.is_dir():
        return []
    found = [(path, _read(path / COMPLETE)) for path in folder.glob("checkpoint-*")]
    return [(int(path.name.rpartition("-")[2]), path, mark) for path, mark in found if mark.get("run")]


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
