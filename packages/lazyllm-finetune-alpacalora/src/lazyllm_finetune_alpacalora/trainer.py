"""`finetune.alpacalora`: the adapter that checks all input and builds the training command. Imports nothing heavy."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from lazyllm.components.finetune import LazyLLMFinetuneBase
from lazyllm.components.paths import check_model, find_data
from lazyllm.configs import config
from lazyllm.errors import InputError
from lazyllm.jobs.command import Command, Ref, Step

from .check import check_model_name, check_modules, check_packages, check_pattern
from .check_base import check_base
from .config import THREADS, RunConfig, new_token
from .data import survey
from .params import DEFAULTS, DS_CONFIG, TYPES, check_params
from .places import check_places
from .plan import plan_batch, plan_length, plan_schedule, plan_validation
from .processes import PACKAGE, PORT, Processes
from .template import load_template


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
    types: ClassVar[Mapping[str, type]] = TYPES
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
        check_model_name(model_name)
        check_pattern(cp_files)
        self.model_name, self.cp_files = model_name, cp_files
        if "deepspeed" in self.given and self.kw["deepspeed"] == DS_CONFIG:
            self.given -= {"deepspeed"}
        self.kw = check_params(self.kw, self.given)

    def cmd(self, trainset: Any = None, valset: Any = None) -> Command:
        """Return the command with its two steps, train and merge; all bad input is refused here."""
        processes = Processes.of(self.launcher)
        uses_deepspeed = bool(self.kw["deepspeed"]) and "deepspeed" in self.given
        run = self._run_config(trainset, valset, processes.world, processes.world > 1 or uses_deepspeed)
        check_packages(deepspeed=uses_deepspeed)
        file = Ref("file", "run.json")
        train = processes.argv(file, torchrun=uses_deepspeed)
        wished = run.params["nccl_port"] if "nccl_port" in self.given else None
        ports = {PORT: wished} if Ref("port", PORT) in train else {}
        return Command(
            (Step(train, "train"), Step((sys.executable, "-m", f"{PACKAGE}.merge", file), "merge", once=True)),
            env={
                **{name: os.environ[name] for name in (THREADS,) if name in os.environ},
                "TOKENIZERS_PARALLELISM": "false",
                "PYTHONUNBUFFERED": "1",
            },
            files={"run.json": run.dumps()},
            ports=ports,
            result=self.merge_path,
            scratch=(str(run.adapter_partial), str(run.merge_partial)),
            title=f"fine-tune {Path(self.base_model).name} on {Path(run.data).name}",
        )

    def _check_plan(self, params: Mapping[str, Any], records: int, held_out: int | None, world: int) -> None:
        """Refuse explicit values that the data cannot meet, as far as it is known before it is encoded."""
        plan_length(params, self.given, check_model(self.base_model))
        batch = plan_batch(params, self.given, world)
        if held_out is None:
            held_out, _ = plan_validation(params, self.given, records)
            records -= held_out
        plan_schedule(params, self.given, records, held_out, batch, world)

    def _run_config(self, trainset: Any, valset: Any, world: int, distributed: bool) -> RunConfig:
        params = dict(self.kw)
        trust = params["trust_remote_code"]
        params["trust_remote_code"] = bool(config["trust_remote_code"]) if trust is None else trust
        if not params["data_path"] and not trainset:
            raise InputError("There is no training data: call the trainer with a data file, or give data_path.")
        data = find_data(params["data_path"] or trainset)
        params["prompt_template_name"] = load_template(params["prompt_template_name"]).name
        found = survey(data)
        held_out = find_data(valset) if valset is not None else None
        if held_out:
            if "val_set_size" in self.given:
                raise InputError(
                    f"val_set_size={params['val_set_size']} with a valset of your own: give one of the two."
                )
            other = survey(held_out)
            if other.kind != found.kind:
                raise InputError(
                    f"The training data has {found.kind} records and the validation data {other.kind} records."
                )
        check_base(self.base_model, found.kind, trust=params["trust_remote_code"])
        check_modules(self.base_model, params, self.given)
        self._check_plan(params, found.count, other.count if held_out else None, world)
        stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        run = RunConfig(
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
            auto_threads=THREADS not in os.environ,
            token=new_token(self.root),
            processes=world,
            distributed=distributed,
        )
        check_places(run)
        return run
