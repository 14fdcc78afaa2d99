"""The adapter: what it refuses before anything starts, and the command that it builds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lazyllm.errors import DataError, InputError
from lazyllm_finetune_alpacalora.params import DS_CONFIG
from lazyllm_finetune_alpacalora.publish import MARK
from lazyllm_finetune_alpacalora.trainer import AlpacaloraFinetune

OTHER_JSON = str(Path(DS_CONFIG).parent / "templates" / "alpaca.json")  # its content does not matter here


def make(base: Path, out: Path, ngpus: int = 1, **keywords: Any) -> AlpacaloraFinetune:
    from types import SimpleNamespace

    trainer = AlpacaloraFinetune(base, str(out), **keywords)
    trainer._launcher = SimpleNamespace(ngpus=ngpus)  # type: ignore[assignment]
    return trainer


def test_the_documented_defaults(empty_model: Path, tmp_path: Path) -> None:
    trainer = make(empty_model, tmp_path / "out")
    documented = {
        "data_path": None,
        "batch_size": 64,
        "micro_batch_size": 4,
        "num_epochs": 2,
        "learning_rate": 5e-4,
        "cutoff_len": 1030,
        "filter_nums": 1024,
        "val_set_size": 200,
        "lora_r": 8,
        "lora_alpha": 32,
        "lora_dropout": 0.05,
        "lora_target_modules": "[wo,wqkv]",
        "modules_to_save": "[tok_embeddings,output]",
        "deepspeed": DS_CONFIG,
        "prompt_template_name": "alpaca",
        "train_on_inputs": True,
        "show_prompt": False,
        "nccl_port": 19081,
    }
    assert {name: trainer.defatult_kw[name] for name in documented} == documented
    assert {name: trainer.kw[name] for name in documented} == documented
    assert (trainer.model_name, trainer.cp_files) == ("LLM", "tokeniz*")
    assert trainer.merge_path == str(tmp_path / "out" / "lazyllm_merge")
    assert json.loads(Path(DS_CONFIG).read_text())["zero_optimization"]["stage"] == 2


def test_the_command_trains_then_merges(empty_model: Path, alpaca_file: Path, tmp_path: Path) -> None:
    command = make(empty_model, tmp_path / "out", model_name="m", lora_r=4).cmd(alpaca_file)
    assert [step.name for step in command.steps] == ["train", "merge"]
    assert [str(item) for item in command.steps[0].argv[1:]] == [
        "-m",
        "lazyllm_finetune_alpacalora.train",
        "<run.json>",
    ]
    assert command.result == str(tmp_path / "out" / "lazyllm_merge")
    assert command.env["OMP_NUM_THREADS"] == "1"  # this test's own
    config = json.loads(command.files["run.json"])
    assert config["explicit"] == ["lora_r"]
    assert config["data"] == str(alpaca_file)
    assert Path(config["log_file"]).parent == tmp_path / "out"
    assert Path(config["log_file"]).name.startswith("m_2")
    assert not (tmp_path / "out" / "lazyllm_merge").exists()


def test_the_checked_values_are_kept(empty_model: Path, tmp_path: Path) -> None:
    trainer = make(empty_model, tmp_path / "out", lora_r="16", train_on_inputs="false", learning_rate="1e-3")
    assert [trainer.kw[name] for name in ("lora_r", "train_on_inputs", "learning_rate")] == [16, False, 1e-3]
    assert trainer.defatult_kw["lora_r"] == 8


def test_several_gpus_go_through_torchrun(empty_model: Path, alpaca_file: Path, tmp_path: Path) -> None:
    command = make(empty_model, tmp_path / "out", ngpus=4).cmd(alpaca_file)
    argv = [str(item) for item in command.steps[0].argv]
    assert argv[1:5] == ["-m", "torch.distributed.run", "--nnodes=1", "--nproc_per_node=4"]
    assert argv[argv.index("--master_port") + 1] == "<nccl>"
    assert dict(command.ports) == {"nccl": None}
    assert make(empty_model, tmp_path / "out", ngpus=2, nccl_port=19999).cmd(alpaca_file).ports == {"nccl": 19999}


def test_data_path_at_construction_wins(empty_model: Path, alpaca_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text(alpaca_file.read_text())
    trainer = make(empty_model, tmp_path / "out", data_path=str(other))
    assert json.loads(trainer.cmd(alpaca_file).files["run.json"])["data"] == str(other)
    assert json.loads(trainer.cmd().files["run.json"])["data"] == str(other)


def test_a_merge_path_of_ones_own(empty_model: Path, alpaca_file: Path, tmp_path: Path) -> None:
    merged = tmp_path / "merged"
    trainer = make(empty_model, tmp_path / "out", merge_path=str(merged))
    assert (trainer.target_path, trainer.merge_path) == (str(tmp_path / "out"), str(merged))
    merged.mkdir()
    (merged / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds files that no training put there"):
        trainer.cmd(alpaca_file)
    (merged / MARK).write_text("{}")
    assert trainer.cmd(alpaca_file).result == str(merged)
    for bad in (empty_model, tmp_path):
        with pytest.raises(InputError, match="merge_path"):
            make(empty_model, tmp_path / "out", merge_path=str(bad)).cmd(alpaca_file)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"lora_rr": 4}, "'lora_rr'.*'lora_r'"),
        ({"lora_r": 0}, "lora_r=0"),
        ({"val_set_size": 10}, "val_set_size=10 .* 10 samples"),
        ({"prompt_template_name": "alpacca"}, "'alpaca'"),
        ({"model_name": "a/b"}, "model_name"),
        ({"model_name": "a\0"}, "NUL"),
        ({"model_name": "x" * 201}, "200 bytes"),
        ({"cp_files": "/etc/*"}, "cp_files"),
        ({"cp_files": "../*"}, "cp_files"),
        ({"cp_files": "a**"}, "cp_files"),
        ({"cp_files": "\ud800"}, "cp_files"),
        ({"cp_files": None}, "cp_files"),
        ({"prompt_template_name": "x" * 300}, "prompt_template_name.*too long"),
        ({"warmup_steps": 100}, "warmup_steps=100 never ends: the training has 2 steps"),
        ({"eval_steps": 5}, "eval_steps=5, but of 10 samples none is held out(.|\n)*val_set_size"),
        ({"merge_path": 3}, "merge_path is given by a path"),
        ({"deepspeed": OTHER_JSON}, "needs deepspeed.*\n.*pip install deepspeed"),
        ({"data_path": "nowhere.json"}, "nowhere.json"),
    ],
    ids=str,
)
def test_bad_keywords_are_refused(
    empty_model: Path, alpaca_file: Path, tmp_path: Path, keywords: dict[str, Any], message: str, no_deepspeed: None
) -> None:
    with pytest.raises(InputError, match=message):
        make(empty_model, tmp_path / "out", **keywords).cmd(alpaca_file)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def no_deepspeed(monkeypatch: pytest.MonkeyPatch) -> None:
    from lazyllm_finetune_alpacalora import check

    found = check.find_spec
    monkeypatch.setattr(check, "find_spec", lambda name: None if name == "deepspeed" else found(name))


def test_missing_packages_are_named_with_the_command(
    empty_model: Path, alpaca_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lazyllm_finetune_alpacalora import check

    monkeypatch.setattr(check, "find_spec", lambda name: None if name in ("peft", "torch") else object())
    with pytest.raises(InputError, match=r"needs peft, torch, .*\n.*pip install peft torch"):
        make(empty_model, tmp_path / "out").cmd(alpaca_file)


def test_validation_data_of_another_kind_is_refused(empty_model: Path, alpaca_file: Path, tmp_path: Path) -> None:
    chat = tmp_path / "chat.json"
    chat.write_text('[{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}]')
    with pytest.raises(InputError, match="alpaca records and the validation data messages"):
        make(empty_model, tmp_path / "out").cmd(alpaca_file, chat)


def test_a_valset_and_a_size_are_one_too_many(empty_model: Path, alpaca_file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="val_set_size=3 with a valset"):
        make(empty_model, tmp_path / "out", val_set_size=3).cmd(alpaca_file, alpaca_file)
    command = make(empty_model, tmp_path / "out", eval_steps=1).cmd(alpaca_file, alpaca_file)
    assert json.loads(command.files["run.json"])["valset"] == str(alpaca_file)


def test_malformed_data_is_refused_in_the_callers_process(empty_model: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text('[{"instruction": "x",\n "output": }]')
    with pytest.raises(DataError, match="line 2, column 12"):
        make(empty_model, tmp_path / "out").cmd(bad)


def test_nothing_heavy_is_imported(empty_model: Path, alpaca_file: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from types import SimpleNamespace\n"
        "from lazyllm_finetune_alpacalora.trainer import AlpacaloraFinetune\n"
        "import lazyllm_finetune_alpacalora.hooks as hooks\n"
        "trainer = AlpacaloraFinetune(sys.argv[1], sys.argv[2])\n"
        "trainer._launcher = SimpleNamespace(ngpus=1)\n"
        "trainer.cmd(sys.argv[3])\n"
        "print([e.name for e in hooks.lazyllm_engines()])\n"
        "heavy = {'torch', 'transformers', 'peft', 'datasets', 'numpy', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)\n"
    )
    argv = [sys.executable, "-c", code, str(empty_model), str(tmp_path / "out"), str(alpaca_file)]
    done = subprocess.run(argv, capture_output=True, text=True, env=dict(os.environ), check=False)
    assert done.returncode == 0, done.stderr
    assert "'torch', 'transformers', 'peft'" in done.stdout
