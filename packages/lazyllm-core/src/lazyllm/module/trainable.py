"""`TrainableModule`: a model that is fine-tuned, served and asked through one object."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Self

from ..components.keywords import check_keywords
from ..errors import InputError
from .choose import choose
from .url import UrlModule


class TrainableModule(UrlModule):
    """A base model that can be trained, then served, then called.

        m = TrainableModule("path/to/base", "path/to/target")
        m.finetune_method(finetune.alpacalora, num_epochs=3).trainset("train.json").mode("finetune")
        m.prompt(AlpacaPrompter("{instruction}")).formatter(JsonFormatter())
        m.update()                 # train, merge, serve
        m({"instruction": "…"}, max_new_tokens=64)
        m.stop()

    Args:
        base_model: folder of the model (see `config["model_path"]`).
        target_path: where fine-tuning puts its results; a merged model there is served instead of the base.
        stream: calls return an iterator of the answer's pieces.
    """

    def __init__(
        self,
        base_model: str | os.PathLike[str] = "",
        target_path: str | os.PathLike[str] = "",
        *,
        stream: bool = False,
    ) -> None:
        super().__init__(stream=stream)
        self.base_model = base_model
        self.target_path = target_path
        self._mode: str | None = None
        self._trainset: Any = None
        self._finetune: tuple[Any, dict[str, Any]] = (None, {})
        self._deploy: tuple[Any, dict[str, Any]] = (None, {})
        self._merged: str | None = None
        self._engine: Any = None

    def finetune_method(self, method: Any, **kw: Any) -> Self:
        """Set the trainer: a class of `lazyllm.finetune` or its name, and its keywords."""
        self._finetune = _checked("finetune", method, kw)
        return self

    def deploy_method(self, method: Any, **kw: Any) -> Self:
        """Set the engine: a class of `lazyllm.deploy` or its name, and its keywords."""
        self._deploy = _checked("deploy", method, kw)
        return self

    def trainset(self, trainset: Any) -> Self:
        """Set the training data: a path, or a function that returns one."""
        self._trainset = trainset
        return self

    def mode(self, mode: str) -> Self:
        """`finetune`: the next `update` trains first. `deploy`: it only serves."""
        if mode not in ("finetune", "deploy"):
            raise InputError(f"mode={mode!r} is none of 'finetune', 'deploy'.")
        self._mode = mode
        return self

    @property
    def job(self) -> Any:
        """The job that serves the model, or None."""
        return self._engine.job if self._engine is not None else None

    def finetune(self) -> str:
        """Train and return the merged model's folder."""
        method, kw = self._finetune
        self._check_training()
        trainset = self._trainset() if callable(self._trainset) else self._trainset
        trainer = choose("finetune", method)(self.base_model, self.target_path, **kw)
        self._merged = trainer(trainset)
        self._mode = None
        return str(self._merged)

    def _check_training(self) -> None:
        if self._trainset is None:
            raise InputError("There is nothing to train on: call trainset(path) first.")
        if not os.fspath(self.target_path):
            raise InputError("There is nowhere to train into: make the module with a target_path.")

    def start(self) -> Self:
        """Serve the fine-tuned model, or the base model where there is none, and return once it answers."""
        return self._serve(self._made_engine())

    update_server = start

    def _made_engine(self) -> Any:
        method, kw = self._deploy
        return choose("deploy", method)(**kw)

    def _serve(self, engine: Any) -> Self:
        self.stop()
        tuned = self._merged or self._earlier_target()
        self._engine = engine
        self._set_url(engine(tuned, self.base_model or None))
        self._stream = self._stream or engine.stream
        self._protocol = None if engine.message_format is None else type(engine).__name__
        return self

    def _earlier_target(self) -> str | None:
        """Return the target folder if an earlier training left a merged model in it."""
        from ..components.paths import MERGE_FOLDER, placed_below_root

        if not os.fspath(self.target_path):
            return None
        target = placed_below_root(self.target_path)
        return target if Path(target, MERGE_FOLDER, "config.json").exists() else None

    def update(self) -> Self:
        """Train if `mode("finetune")` asks for it, then serve.

        That the engine can serve such a model is looked at before the training.
        """
        trains = self._mode == "finetune"
        if trains:
            self._check_training()
        engine = self._made_engine()
        if trains:
            engine.cmd(None, self.base_model)
            self.finetune()
        return self._serve(engine)

    def stop(self) -> None:
        """End the server; the module can be started again."""
        self.close()
        if self._engine is not None and self._engine.job is not None:
            self._engine.job.stop()
        self._engine = None
        self._url = ""

    def __getstate__(self) -> dict[str, Any]:
        """What a copy gets: the URL too, but not the job behind it, which stays this module's to stop."""
        return {**super().__getstate__(), "_engine": None}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


def _checked(group: str, method: Any, kw: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the class that `method` means and its keywords, which it knows."""
    cls = choose(group, method)
    check_keywords(cls, kw)
    return cls, kw
