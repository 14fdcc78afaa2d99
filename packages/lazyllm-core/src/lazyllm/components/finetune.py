"""The trainer's contract: base model and data in, the folder of a merged model out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..configs import config
from ..errors import InputError
from .core import ComponentBase
from .keywords import merge_keywords
from .paths import check_model, check_writable, find_model

if TYPE_CHECKING:
    from ..jobs.command import Command
    from ..jobs.job import Job
    from ..jobs.launcher import LazyLLMLaunchersBase

LORA_FOLDER = "lazyllm_lora"
MERGE_FOLDER = "lazyllm_merge"


def placed_below_root(target_path: str | os.PathLike[str]) -> str:
    """Return the absolute path that a trainer uses for `target_path`: below `config["train_target_root"]` if set."""
    root = Path(config["train_target_root"]).expanduser() / Path(target_path).expanduser()
    return os.path.abspath(root)  # noqa: PTH100 (no link is resolved)


class LazyLLMFinetuneBase(ComponentBase):
    """Base of trainers. `trainer = finetune.NAME(base_model, target_path)`, then `merged = trainer(trainset)`.

    A subclass gives `defaults` (its keywords), `auto_map` (a planner's names → its keywords) and `cmd`:

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
    defaults: ClassVar[Mapping[str, Any]] = {}
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
        self.kw = merge_keywords(self.component_name(), self.defaults, kw)
        self.base_model = find_model(base_model)
        check_model(self.base_model)
        self._place(target_path, merge_path)

    def _place(self, target_path: str | os.PathLike[str], merge_path: str | os.PathLike[str] | None) -> None:
        if not isinstance(target_path, (str, os.PathLike)) or not os.fspath(target_path):
            raise InputError(f"target_path={target_path!r} is no path: expected the folder to train into.")
        if merge_path is None:
            self.root = placed_below_root(target_path)
            self.target_path = os.path.join(self.root, LORA_FOLDER)  # noqa: PTH118
            self.merge_path = os.path.join(self.root, MERGE_FOLDER)  # noqa: PTH118
        else:
            self.root = self.target_path = os.path.abspath(Path(target_path).expanduser())  # noqa: PTH100
            self.merge_path = os.path.abspath(Path(merge_path).expanduser())  # noqa: PTH100
            if self.merge_path == self.target_path:
                raise InputError(f"merge_path and target_path are one folder: {self.merge_path!r}.")
        check_writable(self.target_path)
        check_writable(self.merge_path, "merge_path")

    @property
    def launcher(self) -> LazyLLMLaunchersBase:
        if self._launcher is None:
            from ..launcher import resolve_launcher

            self._launcher = resolve_launcher(self._wished_launcher, ngpus=1)
        return self._launcher

    def cmd(self, trainset: Any, valset: Any = None) -> Command:
        """Return the command that trains on `trainset` and leaves the merged model in `merge_path`.

        All bad input is refused here, before anything starts.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement cmd.")

    def start(self, trainset: Any = None, valset: Any = None, *, detach: bool = False) -> Job:
        """Start training and return its job at once; `job.wait()` waits for the end. With `detach` it outlives us."""
        command = self.cmd(trainset, valset)
        command = replace(command, title=command.title or self.component_name())
        self.job = self.launcher.makejob(command, detach=detach)
        self.job.start()
        return self.job

    def __call__(self, trainset: Any = None, valset: Any = None) -> Any:
        """Train and return the merged model's folder, once it is whole."""
        job = self.start(trainset, valset)
        job.wait()
        return job.return_value
