"""What the adapter writes for the training and the merging process: one JSON file with every parameter."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lazyllm.errors import InputError

THREADS = "OMP_NUM_THREADS"


@dataclass(frozen=True, slots=True)
class RunConfig:
    """One run.

    Args:
        base_model: folder of the base model.
        root: folder of log, curve, summary and checkpoints.
        target_path: folder of the adapter.
        merge_path: folder of the merged model.
        cp_files: glob of the base model's files that the merged model gets too.
        auto_threads: whether the number of CPU threads is ours to choose.
        data: data file or folder. valset: the same, for evaluation; None to split.
        log_file: takes the output of both steps.
        token: tells this run's half-made folders from another's; `new_token` makes one.
        processes: how many train together. distributed: they get torchrun's variables; one alone may, too.
        params: all keywords of the trainer. explicit: those that the user gave.
    """

    base_model: str
    root: str
    target_path: str
    merge_path: str
    data: str
    log_file: str
    params: dict[str, Any]
    explicit: list[str] = field(default_factory=list)
    valset: str | None = None
    cp_files: str = "tokeniz*"
    auto_threads: bool = False
    token: str = ""
    processes: int = 1
    distributed: bool = False

    @property
    def adapter_partial(self) -> Path:
        return self._partial(self.target_path)

    @property
    def merge_partial(self) -> Path:
        return self._partial(self.merge_path)

    @property
    def checkpoints(self) -> Path:
        return Path(self.root, "lazyllm_checkpoints")

    @property
    def facts(self) -> Path:
        """What the training tells the merging: chat template and stop tokens."""
        return self.checkpoints / "trained.json"

    @property
    def trained_logits(self) -> Path:
        """What the trained model says to the samples of `facts`, for the merging to compare."""
        return self.checkpoints / "trained.safetensors"

    def _partial(self, folder: str) -> Path:
        """Return the sibling in which a folder is made before it is published."""
        path = Path(folder)
        return path.with_name(f".{path.name}.{self.token}.partial")

    def dumps(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False)

    @classmethod
    def load(cls, path: str | Path) -> RunConfig:
        try:
            return cls(**json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{path} is no training configuration: {error}.") from None


def new_token(root: str) -> str:
    """Return a token: the folder of the run, whose lock tells who is at work, and a part that no other run has."""
    return f"{hashlib.sha256(os.fsencode(root)).hexdigest()[:8]}-{uuid.uuid4().hex[:8]}"
