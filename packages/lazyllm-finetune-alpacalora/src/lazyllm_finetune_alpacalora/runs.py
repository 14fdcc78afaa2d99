"""Fingerprints of runs, and checkpoints from which a killed run goes on."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .config import RunConfig
from .data import data_files
from .places import checkpoints_in
from .publish import MARK, NAMED_TEMPLATES, read_json, remove, write_text
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
    base = Path(config.base_model)
    for file in sorted([*base.iterdir(), *base.glob(f"{NAMED_TEMPLATES}/*")]):
        if file.is_file():
            stat = file.stat()
            digest.update(f"{file.name} {stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()


def find_run(config: RunConfig, world: int) -> Run:
    """Return the run to go on with, or a new one. Changes nothing, so that every process may ask."""
    digest = fingerprint(config, world)
    new = Run(uuid.uuid4().hex, digest)
    found = sorted(_complete(config.checkpoints), key=lambda c: c[0])
    if not found:
        leftovers = checkpoints_in(config.checkpoints)
        return replace(new, note="No complete checkpoint was left: starting anew." if leftovers else "")
    step, checkpoint, mark = found[-1]
    if mark.get("fingerprint") != digest:
        note = "Checkpoints of another run (other data, keywords or base model) are removed: starting anew."
        return replace(new, note=note)
    if read_json(Path(config.merge_path, MARK)).get("run") == mark["run"]:
        return replace(new, note="This run was finished before: starting anew.")
    return Run(mark["run"], digest, checkpoint, f"Resuming from step {step}: {checkpoint}")


def clean(config: RunConfig, run: Run) -> None:
    """Remove checkpoints that earlier runs left: all of them when starting anew, incomplete ones when resuming."""
    kept = {path for _, path, _ in _complete(config.checkpoints)} if run.checkpoint else set()
    for path in checkpoints_in(config.checkpoints):
        if path not in kept:
            remove(path)


def mark_complete(checkpoint: Path, run: Run) -> None:
    """Say that a checkpoint is whole; written after all else in it."""
    write_text(checkpoint / COMPLETE, json.dumps({"run": run.id, "fingerprint": run.fingerprint}))


def _complete(folder: Path) -> list[tuple[int, Path, Mapping[str, Any]]]:
    found = [(path, read_json(path / COMPLETE)) for path in checkpoints_in(folder)]
    return [(int(path.name.rpartition("-")[2]), path, mark) for path, mark in found if mark.get("run")]
