"""`finetune.alpacalora`: the adapter that checks all input and builds the training command. Imports nothing heavy."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from lazyllm.components.finetune import LazyLLMFinetuneBase
from lazyllm.components.paths import find_data
from lazyllm.configs import config
from lazyllm.errors import InputError
from lazyllm.jobs.command import Arg, Command, Ref, Step

from .check import check_base, check_merge_path, check_modules, check_packages
from .config import RunConfig
from .data import survey
from .params import DEFAULTS, DS_CONFIG, check_params
from .template import load_template

PACKAGE = __package__ or "lazyllm_finetune_alpacalora"


class AlpacaloraFinetune(LazyLLMFinetuneBase):
    """LoRA on instruction data, then a merged model that loads by itself.

        trainer = finetune.alpacalora("path/to/base", "out", num_epochs=3)
        merged = trainer("train.json")

    Args:
        base_model, target_path, merge_path, launcher: as in `LazyLLMFinetuneBase`.
        model_name: first part of the log file's name.
        cp_files: glob of further files to copy from the base model to the merged one.
        **kw: the keywords of `params.DEFAULTS`; the README has their table.

    Raises:
        InputError, DataError, ModelError: bad input, before anything starts.
    """

    defaults: ClassVar[Mapping[str, Any]] = DEFAULTS
    auto_map: ClassVar[Mapping[str, str]] = {"micro_batch_size": "micro_batch_size"}

    def __init__(
        self,
        base_model: str | os.PathLike[str],
        target_path: str | os.PathLike[str],
        merge_path: str | os.PathLike[str] | None = None,
        model_name: str = "LLM",
        cp_files: str = "tokeniz*",
        launcher: Any = None,
        **kw: Any,
    ) -> None:
        super().__init__(base_model, target_path, merge_path, launcher=launcher, **kw)
        if not isinstance(model_name, str) or not model_name or Path(model_name).name != model_name:
            raise InputError(f"model_name={model_name!r} cannot begin a log file's name: expected text without '/'.")
        if not isinstance(cp_files, str) or Path(cp_files).is_absolute():
            raise InputError(
                f"cp_files={cp_files!r} is no glob of files in the base model's folder, such as 'tokeniz*'."
            )
        self.model_name, self.cp_files = model_name, cp_files
        self._own_merge_path = merge_path is not None
        if "deepspeed" in self.given and self.kw["deepspeed"] == DS_CONFIG:
            self.given -= {"deepspeed"}
        check_params(self.kw, self.given)

    def cmd(self, trainset: Any = None, valset: Any = None) -> Command:
        """Return the command with its two steps, train and merge; all bad input is refused here."""
        run = self._run_config(trainset, valset)
        processes = max(1, int(getattr(self.launcher, "ngpus", 1) or 1))
        uses_deepspeed = bool(run.params["deepspeed"]) and "deepspeed" in self.given
        check_packages(deepspeed=uses_deepspeed)
        file = Ref("file", "train.json")
        train: tuple[Arg, ...] = (sys.executable, "-m", f"{PACKAGE}.train", file)
        ports: dict[str, int | None] = {}
        if processes > 1 or uses_deepspeed:
            wished = run.params["nccl_port"] if "nccl_port" in self.given else None
            ports = {"nccl": wished}
            train = (
                *(sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={processes}"),
                *("--master_addr", "127.0.0.1", "--master_port", Ref("port", "nccl")),
                *("-m", f"{PACKAGE}.train", file),
            )
        return Command(
            (Step(train, "train"), Step((sys.executable, "-m", f"{PACKAGE}.merge", file), "merge")),
            env={
                "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
                "TOKENIZERS_PARALLELISM": "false",
                "PYTHONUNBUFFERED": "1",
            },
            files={"train.json": run.dumps()},
            ports=ports,
            result=self.merge_path,
            scratch=(str(run.adapter_partial), str(run.merge_partial)),
            title=f"fine-tune {Path(self.base_model).name} on {Path(run.data).name}",
        )

    def _run_config(self, trainset: Any, valset: Any) -> RunConfig:
        params = check_params(self.kw, self.given)
        trust = params["trust_remote_code"]
        params["trust_remote_code"] = bool(config["trust_remote_code"]) if trust is None else trust
        if not params["data_path"] and not trainset:
            raise InputError("There is no training data: call the trainer with a data file, or give data_path.")
        data = find_data(params["data_path"] or trainset)
        load_template(params["prompt_template_name"])
        found = survey(data)
        held_out = find_data(valset) if valset else None
        if held_out:
            other = survey(held_out)
            if other.kind != found.kind:
                raise InputError(
                    f"The training data has {found.kind} records and the validation data {other.kind} records."
                )
        elif "val_set_size" in self.given and params["val_set_size"] >= found.count:
            raise InputError(
                f"val_set_size={params['val_set_size']} leaves nothing to train on: {data} has {found.count} records."
            )
        check_base(self.base_model, found.kind, trust=params["trust_remote_code"])
        check_modules(self.base_model, params, self.given)
        if self._own_merge_path:
            check_merge_path(self.merge_path, self.base_model, self.root)
        stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        return RunConfig(
            base_model=self.base_model,
            root=self.root,
            target_path=self.target_path,
            merge_path=self.merge_path,
            data=data,
            valset=held_out,
            log_file=str(Path(self.root, f"{self.model_name}_{stamp}.log")),
            params=params,
            explicit=sorted(self.given),
            cp_files=self.cp_files,
            auto_threads="OMP_NUM_THREADS" not in os.environ,
        )
