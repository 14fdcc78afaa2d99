"""The trainer's contract: base model and data in, the folder of a merged model out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import InputError
from ..jobs.command import Command
from ..registry.classes import class_finder
from .core import ComponentBase
from .keywords import merge_keywords
from .paths import LORA_FOLDER as LORA_FOLDER
from .paths import MERGE_FOLDER as MERGE_FOLDER
from .paths import as_path, check_apart, check_model, check_writable, find_model, placed_below_root

if TYPE_CHECKING:
    from ..jobs.job import Job


class LazyLLMFinetuneBase(ComponentBase):
    """Base of trainers. `trainer = finetune.NAME(base_model, target_path)`, then `merged = trainer(trainset)`.

    A subclass gives `defaults` (its keywords), `types` (of keywords whose default does not tell it, for the command
    line), `auto_map` (a planner's names → its keywords) and `cmd`:

        class MyTrainer(LazyLLMFinetuneBase):
            defaults = {"num_epochs": 1}

            def cmd(self, trainset, valset=None):
                data = find_data(trainset)
                argv = (sys.executable, "-m", "my_trainer", self.base_model, data, self.merge_path)
                return Command((Step(argv, "train"),), result=self.merge_path)

    Args:
        base_model: folder of the model, as it is or below a folder of `config["model_path"]`.
        target_path: folder for adapter, merged model and logs, below `config["train_target_root"]` where that is set.
        merge_path: folder of the merged model; given, `target_path` is used as it is and holds the adapter.
        launcher: where it runs; the configured launcher with one GPU by default.
        **kw: update `defaults`; an unknown one is an InputError.

    Attributes: `kw`, `base_model`, `target_path` (the adapter's folder), `root` (the folder of logs and plots),
    `merge_path`, `defatult_kw` (the historic spelling of the defaults).
    """

    __reg_overwrite__ = "cmd"
    _launched_with: ClassVar[Mapping[str, Any]] = {"ngpus": 1}
    defaults: ClassVar[Mapping[str, Any]] = {}
    types: ClassVar[Mapping[str, type]] = {}
    auto_map: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        base_model: str | os.PathLike[str],
        target_path: str | os.PathLike[str],
        merge_path: str | os.PathLike[str] | None = None,
        *,
        launcher: Any = None,
        **kw: Any,
    ) -> None:
        super().__init__(launcher=launcher)
        self.defatult_kw = dict(self.defaults)
        self.given = frozenset(name.replace("-", "_") for name in kw)
        self.kw = merge_keywords(self.component_name(), self.defaults, kw, type(self).__init__)
        self.base_model = find_model(base_model)
        check_model(self.base_model)
        self._place(target_path, merge_path)

    def _place(self, target_path: str | os.PathLike[str], merge_path: str | os.PathLike[str] | None) -> None:
        target = as_path(target_path, "target_path")
        if merge_path is None:
            self.root = placed_below_root(target)
            self.target_path = os.path.join(self.root, LORA_FOLDER)  # noqa: PTH118
            self.merge_path = os.path.join(self.root, MERGE_FOLDER)  # noqa: PTH118
        else:
            self.root = self.target_path = os.path.abspath(target)  # noqa: PTH100
            self.merge_path = os.path.abspath(as_path(merge_path, "merge_path"))  # noqa: PTH100
            if self.merge_path == self.target_path:
                raise InputError(f"merge_path and target_path are one folder: {self.merge_path!r}.")
            if Path(self.merge_path) in Path(self.root).parents:
                raise InputError(
                    f"merge_path {self.merge_path!r} holds target_path {self.root!r}, and would be replaced as a whole."
                )
        check_apart(self.root, self.base_model, "target_path", replaced=False)
        if self.target_path != self.root:
            check_apart(self.target_path, self.base_model, "target_path", replaced=True)
        check_apart(self.merge_path, self.base_model, "merge_path", replaced=True)
        check_writable(self.target_path)
        check_writable(self.merge_path, "merge_path")

    def cmd(self, trainset: Any, valset: Any = None) -> Command:
        """Return the command that trains on `trainset` and leaves the merged model in `merge_path`.

        All bad input is refused here, before anything starts.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement cmd.")

    def makejob(self, trainset: Any = None, valset: Any = None, *, detach: bool = False) -> Job:
        """Return the job that trains, not started yet. With `detach` it will outlive this process."""
        command = Command.of(self.cmd(trainset, valset))
        command = replace(command, title=command.title or self.component_name())
        self.job = self.launcher.makejob(command, detach=detach)
        return self.job

    def start(self, trainset: Any = None, valset: Any = None, *, detach: bool = False) -> Job:
        """Start training and return its job at once; `job.wait()` waits for the end."""
        job = self.makejob(trainset, valset, detach=detach)
        job.start()
        return job

    def __call__(self, trainset: Any = None, valset: Any = None) -> Any:
        """Train and return the merged model's folder, once it is whole."""
        job = self.start(trainset, valset)
        job.wait()
        return job.return_value


__getattr__ = class_finder(__name__)
