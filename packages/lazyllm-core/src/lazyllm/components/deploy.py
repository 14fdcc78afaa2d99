"""The engine's contract: a model's folder in, the URL of a server that answers out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..configs import Mode, config
from ..errors import InputError, ModelError
from ..jobs.command import Command
from ..jobs.keys import API_KEY
from ..registry.classes import class_finder
from .core import ComponentBase
from .keywords import merge_keywords
from .paths import MERGE_FOLDER, as_path, check_model, find_model, has_weights, placed_below_root

if TYPE_CHECKING:
    from ..jobs.job import Job


class LazyLLMDeployBase(ComponentBase):
    """Base of engines. `infer = deploy.NAME(**options)`, then `url = infer(finetuned_model, base_model)`.

    A subclass gives `defaults` (its keywords), says how it is spoken to, and implements `cmd`:

        class MyEngine(LazyLLMDeployBase):
            defaults = {"port": None}

            def cmd(self, finetuned_model=None, base_model=None):
                model = self.find_model(finetuned_model, base_model)
                argv = ("my-engine", "--model", model, "--host", Ref("host"), "--port", Ref("port", "port"))
                return Command((Step(argv, "serve"),), ports={"port": self.kw["port"]}, service=Service())

    Class attributes:
        types: types of keywords whose default does not tell it, for the command line.
        message_format: body of a request, with its defaults; None where the protocol is `openai`.
        keys_name_handle: role (`inputs`, `stop`, `image`, …) → the body's key for it.
        default_headers: headers of a request.
        auto_map: a planner's names → the engine's own options.

    Args:
        trust_remote_code: let the model run code that comes with it; None for the configuration's value.
        launcher: where it runs; the configured launcher with one GPU by default.
        stream: whether callers of `geturl` are to stream.
        log_path: folder below which the server's output is kept too, in a folder of the engine's.
        **kw: update `defaults`; an unknown one is an InputError.
    """

    __reg_overwrite__ = "cmd"
    _launched_with: ClassVar[Mapping[str, Any]] = {"ngpus": 1}
    defaults: ClassVar[Mapping[str, Any]] = {}
    types: ClassVar[Mapping[str, type]] = {"port": int, "host": str}
    auto_map: ClassVar[Mapping[str, str]] = {}
    message_format: ClassVar[Mapping[str, Any] | None] = None
    keys_name_handle: ClassVar[Mapping[str, str] | None] = None
    default_headers: ClassVar[Mapping[str, str]] = {"Content-Type": "application/json"}

    def __init__(
        self,
        trust_remote_code: bool | None = None,
        launcher: Any = None,
        stream: bool = False,
        log_path: str | os.PathLike[str] | None = None,
        **kw: Any,
    ) -> None:
        super().__init__(launcher=launcher)
        self.given = frozenset(name.replace("-", "_") for name in kw)
        self.kw = merge_keywords(self.component_name(), self.defaults, kw, type(self).__init__)
        if not isinstance(trust_remote_code, bool | None):
            raise InputError(f"trust_remote_code is True, False or None, not {trust_remote_code!r}.")
        self.trust_remote_code = config["trust_remote_code"] if trust_remote_code is None else trust_remote_code
        if not isinstance(stream, bool):
            raise InputError(f"stream is True or False, not {stream!r}.")
        self.stream = stream
        self.log_path = None if log_path is None else as_path(log_path, "log_path")

    @staticmethod
    def extract_result(text: str, inputs: Any) -> str:
        """Return the answer that a response's body holds."""
        return text

    @staticmethod
    def stream_parse_parameters() -> dict[str, Any]:
        """Return how a streamed response is split into pieces."""
        return {}

    @staticmethod
    def stream_url_suffix() -> str:
        """Return what a streaming request adds to the URL."""
        return ""

    def find_model(
        self, finetuned_model: str | os.PathLike[str] | None, base_model: str | os.PathLike[str] | None
    ) -> str:
        """Return the folder to serve: `finetuned_model` (or its lazyllm_merge) if it has weights, else `base_model`."""
        if finetuned_model == "" and base_model is not None:
            finetuned_model = None
        if finetuned_model is not None:
            given = as_path(finetuned_model, "A model", ModelError)
            for place in (given, Path(placed_below_root(given))):
                for folder in (place / MERGE_FOLDER, place):
                    if folder.is_dir() and has_weights(folder) and (folder / "config.json").exists():
                        check_model(str(folder))
                        return os.path.abspath(folder)  # noqa: PTH100 (no link is resolved)
            if base_model is not None:
                from ..common.log import LOG

                shown = config["mode"] is Mode.Display
                words = "yet; the command that is shown serves %s" if shown else "to serve; serving %s instead"
                LOG.warning(f"%s holds no model with weights {words}.", finetuned_model, base_model)
        named = base_model if base_model is not None else finetuned_model
        if named is None:
            raise ModelError("No model to serve: give the folder of a fine-tuned or of a base model.")
        folder = Path(find_model(named))
        if (folder / MERGE_FOLDER / "config.json").exists():
            folder = folder / MERGE_FOLDER
        check_model(str(folder))
        return str(folder)

    def log_file(self) -> str | None:
        """Return the file for the server's output below `log_path`, if that is set."""
        if self.log_path is None:
            return None
        import time

        engine = type(self).__name__.lower()
        name = f"{engine}_{time.strftime('%Y%m%d_%H%M%S')}_{os.getpid()}.log"
        return os.path.abspath(self.log_path / engine / name)  # noqa: PTH100

    def cmd(
        self, finetuned_model: str | os.PathLike[str] | None = None, base_model: str | os.PathLike[str] | None = None
    ) -> Command:
        """Return the command that serves the model. All bad input is refused here, before anything starts."""
        raise NotImplementedError(f"{type(self).__name__} does not implement cmd.")

    def _completed(self, command: Command) -> Command:
        """Return the command with what every engine gets: the log file, and the key in its environment."""
        secrets = dict(command.secrets)
        if config["api_key"]:
            secrets.setdefault(API_KEY, config["api_key"])
        log = command.log or self.log_file()
        return replace(command, secrets=secrets, log=log, title=command.title or self.component_name())

    def geturl(self, job: Job | None = None) -> str:
        """Return the URL of `job`, by default of the server that this engine started last."""
        job = job or self.job
        if job is None:
            raise InputError(f"{type(self).__name__} has started no server yet: call it with a model first.")
        return str(job.url)

    def makejob(
        self,
        finetuned_model: str | os.PathLike[str] | None = None,
        base_model: str | os.PathLike[str] | None = None,
        *,
        detach: bool = False,
    ) -> Job:
        """Return the job that serves the model, not started yet. With `detach` it will outlive this process."""
        command = self._completed(Command.of(self.cmd(finetuned_model, base_model)))
        self.job = self.launcher.makejob(command, detach=detach)
        return self.job

    def start(
        self,
        finetuned_model: str | os.PathLike[str] | None = None,
        base_model: str | os.PathLike[str] | None = None,
        *,
        detach: bool = False,
    ) -> Job:
        """Start the server and return its job at once; `job.wait_ready()` waits until it answers."""
        job = self.makejob(finetuned_model, base_model, detach=detach)
        if job.serves is None:
            raise InputError(
                f"{self.component_name()} made a command that serves nothing.",
                hint="Its author has to give the Command a Service, and the port that it is on.",
            )
        job.start()
        return job

    def __call__(
        self, finetuned_model: str | os.PathLike[str] | None = None, base_model: str | os.PathLike[str] | None = None
    ) -> str:
        """Start the server and return its URL, once it answers."""
        job = self.start(finetuned_model, base_model)
        job.wait_ready()
        return self.geturl(job)


__getattr__ = class_finder(__name__)
