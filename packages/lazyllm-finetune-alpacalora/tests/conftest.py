"""Tiny models, made on the spot, and data that they can learn."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

PAIRS = [
    ("Name the capital of France.", "Paris"),
    ("Name the capital of Italy.", "Rome"),
    ("What colour is the sky?", "blue"),
    ("What colour is grass?", "green"),
    ("How many legs has a dog?", "four"),
    ("How many legs has a bird?", "two"),
    ("What do bees make?", "honey"),
    ("Who wrote Hamlet?", "Shakespeare"),
    ("What is the opposite of hot?", "cold"),
    ("What is frozen water?", "ice"),
]
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAZYLLM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "matplotlib"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def make_tokenizer(folder: Path, chat_template: str | None = CHAT_TEMPLATE) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    plain.train_from_iterator([f"{q} {a}" for q, a in PAIRS] + ["### Instruction:", "### Response:"], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = chat_template
    tokenizer.save_pretrained(str(folder))
    return tokenizer


def make_model(folder: Path, kind: str = "llama", chat_template: str | None = CHAT_TEMPLATE, **options: Any) -> Path:
    import torch
    import transformers

    torch.manual_seed(0)
    tokenizer = make_tokenizer(folder, chat_template)
    tokens = {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    made = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(kind, **{**tokens, **SIZES, **options})
    )
    dtype = options.get("dtype")
    (made.to(dtype) if dtype else made).save_pretrained(str(folder))
    return folder


@pytest.fixture
def alpaca_file(tmp_path: Path) -> Path:
    file = tmp_path / "train.json"
    file.write_text(json.dumps([{"instruction": q, "input": "", "output": a} for q, a in PAIRS]))
    return file


@pytest.fixture
def model_maker(tmp_path: Path) -> Callable[..., Path]:
    """`make_model`, below this test's own folder: (name, kind, chat_template, **config) -> folder."""

    def make(name: str = "base", kind: str = "llama", **options: Any) -> Path:
        return make_model(tmp_path / name, kind, **options)

    return make


@pytest.fixture
def empty_model(tmp_path: Path) -> Path:
    """A folder that passes for a model where nothing is loaded."""
    folder = tmp_path / "shell"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    (folder / "tokenizer.json").write_text('{"model": {}}')
    return folder


class Steps:
    """Runs a command's steps as the job's runner would, with the port and file references filled in."""

    def __init__(self, command: Any, folder: Path) -> None:
        self.command, self.folder = command, folder
        folder.mkdir(exist_ok=True)
        for name, text in command.files.items():
            (folder / name).write_text(text)

    def start(self, name: str, **options: Any) -> subprocess.Popen[str]:
        step = next(step for step in self.command.steps if step.name == name)
        argv = [str(self.folder / item.name) if not isinstance(item, str) else item for item in step.argv]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(argv, env={**os.environ, **self.command.env}, **pipes, **options)

    def run(self, name: str, code: int = 0, **options: Any) -> str:
        process = self.start(name, **options)
        output, _ = process.communicate(timeout=240)
        assert process.returncode == code, output
        return output


def load(merged: str) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(merged, dtype="auto"), AutoTokenizer.from_pretrained(merged)


def answer(model: Any, tokenizer: Any, question: str) -> str:
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    found = model.generate(**ids, max_new_tokens=24, do_sample=False)
    return str(tokenizer.decode(found[0, ids["input_ids"].shape[1] :], skip_special_tokens=True))


@pytest.fixture
def one_gpu() -> Any:
    """Stands in for a launcher: only its number of GPUs is asked for."""
    return SimpleNamespace(ngpus=1)


@pytest.fixture
def trainer_maker(tmp_path: Path, one_gpu: Any) -> Callable[..., Any]:
    """(base, **keywords) -> a trainer into tmp_path/out, quick to learn."""
    from lazyllm_finetune_alpacalora.trainer import AlpacaloraFinetune

    def make(base: Path, **keywords: Any) -> Any:
        quick = {"batch_size": 10, "micro_batch_size": 10, "num_epochs": 60, "learning_rate": 5e-3, "lora_r": 16}
        given = {"target_path": str(tmp_path / "out"), **quick, **keywords}
        trainer = AlpacaloraFinetune(base, **given)
        trainer._launcher = one_gpu
        return trainer

    return make


@pytest.fixture
def steps_of(tmp_path: Path) -> Callable[[Any], Steps]:
    return lambda command: Steps(command, tmp_path / "job")


@pytest.fixture
def answers() -> Callable[[str], dict[str, str]]:
    """A merged folder's greedy answers to the questions of PAIRS."""

    def ask(merged: str) -> dict[str, str]:
        model, tokenizer = load(merged)
        return {question: answer(model, tokenizer, question) for question, _ in PAIRS}

    return ask


@pytest.fixture
def pairs() -> list[tuple[str, str]]:
    return PAIRS


@pytest.fixture(scope="session")
def tokenizer_maker() -> Callable[..., Any]:
    """`make_tokenizer`: (folder, chat_template) -> a tokenizer saved there."""
    return make_tokenizer
