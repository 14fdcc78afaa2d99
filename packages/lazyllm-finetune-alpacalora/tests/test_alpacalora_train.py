"""Real training and merging of tiny models, until the answers are right."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def lines(output: str, start: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith(start)]


@pytest.mark.main
def test_a_tiny_llama_learns_its_answers(
    model_maker: Any, trainer_maker: Any, steps_of: Any, alpaca_file: Path, answers: Any, pairs: Any, tmp_path: Path
) -> None:
    base = model_maker(kind="llama")
    (base / "notes.txt").write_text("kept")
    trainer = trainer_maker(base, train_on_inputs=False, cp_files="*.txt", model_name="tiny")
    command = trainer.cmd(str(alpaca_file))
    steps = steps_of(command)
    output = steps.run("train") + steps.run("merge")

    out = tmp_path / "out"
    assert answers(command.result) == dict(pairs)
    assert command.result == str(out / "lazyllm_merge")
    assert (out / "lazyllm_merge" / "notes.txt").read_text() == "kept"
    assert (out / "lazyllm_lora" / "adapter_config.json").exists()
    assert not (out / "lazyllm_lora" / "README.md").exists()
    modes = {
        file.stat().st_mode & 0o777 for folder in ("lazyllm_lora", "lazyllm_merge") for file in (out / folder).iterdir()
    }
    mask = os.umask(0)
    os.umask(mask)
    assert modes == {0o666 & ~mask}
    assert lines(output, "[progress] train 60/60 loss=")
    assert lines(output, "[progress] merge 6/6")
    stages = [line.partition("now=")[2] for line in lines(output, "[progress] merge")]
    assert stages == ["starting", "loading", "comparing", "merging", "saving", "reading_back", "done"]
    difference = float(lines(output, "Largest logit difference")[0].split(": ")[1].split()[0])
    assert 0 < difference < 1e-4

    (log,) = out.glob("tiny_*.log")
    assert log.read_text() == output
    curve = [json.loads(line) for line in (out / "train_log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in curve] == [1, *range(3, 61, 3)]
    assert curve[-1]["loss"] < 1.5 < curve[0]["loss"]
    assert {"total", "lr", "epoch", "tokens_per_second", "time"} <= set(curve[0])
    summary = json.loads((out / "summary.json").read_text())
    assert summary["tokens"] > 0 < summary["tokens_per_second"]
    assert summary["lora_target_modules"][0] == "down_proj"
    assert (out / "training_loss.png").read_bytes().startswith(b"\x89PNG")
    assert not [p for p in out.iterdir() if "partial" in p.name or "former" in p.name]


@pytest.mark.engine
def test_messages_are_trained_in_the_models_own_template(
    model_maker: Any, trainer_maker: Any, steps_of: Any, answers: Any, pairs: Any, tmp_path: Path
) -> None:
    base = model_maker(kind="qwen2")
    data = tmp_path / "chat.jsonl"
    turns = [{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]} for q, a in pairs]
    data.write_text("".join(json.dumps(turn) + "\n" for turn in turns))
    command = trainer_maker(base, train_on_inputs=False, num_epochs=90).cmd(str(data))
    steps = steps_of(command)
    steps.run("train")
    steps.run("merge")
    assert answers(command.result) == dict(pairs)
    assert json.loads(Path(command.result, "generation_config.json").read_text())["eos_token_id"] == [0, 2]
    assert Path(command.result, "chat_template.jinja").read_text() == (base / "chat_template.jinja").read_text()


@pytest.mark.engine
@pytest.mark.parametrize("form", ["files", "settings"])
def test_named_chat_templates_come_along(
    form: str, model_maker: Any, trainer_maker: Any, steps_of: Any, pairs: Any, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    base = model_maker()
    plain = (base / "chat_template.jinja").read_text()
    named = {"default": plain, "tool_use": "{{ tools | tojson }}\n" + plain}
    if form == "files":
        (base / "additional_chat_templates").mkdir()
        (base / "additional_chat_templates" / "tool_use.jinja").write_text(named["tool_use"])
    else:
        (base / "chat_template.jinja").unlink()
        settings = json.loads((base / "tokenizer_config.json").read_text())
        templates = [{"name": name, "template": text} for name, text in named.items()]
        (base / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": templates}))
    data = tmp_path / "chat.jsonl"
    turns = [{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]} for q, a in pairs]
    data.write_text("".join(json.dumps({**turn, "tools": [{"name": "f"}]}) + "\n" for turn in turns))
    command = trainer_maker(base, max_steps=2, merge_path=str(tmp_path / "merged")).cmd(str(data))
    steps = steps_of(command)
    steps.run("train")
    steps.run("merge")
    for folder in (command.result, tmp_path / "out"):
        assert AutoTokenizer.from_pretrained(folder).chat_template == named


@pytest.mark.engine
def test_tokens_without_an_embedding_are_refused(
    model_maker: Any, trainer_maker: Any, steps_of: Any, alpaca_file: Path, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    base = model_maker()
    tokenizer = AutoTokenizer.from_pretrained(base)
    size = len(tokenizer)
    tokenizer.add_special_tokens({"pad_token": "<pad>"})  # masked wherever it stands, so another will do
    tokenizer.save_pretrained(base)
    steps_of(trainer_maker(base, max_steps=1).cmd(str(alpaca_file))).run("train")
    tokenizer.add_tokens(["Shakespeare"])
    tokenizer.save_pretrained(base)
    command = trainer_maker(base, max_steps=1, target_path=str(tmp_path / "other")).cmd(str(alpaca_file))
    output = steps_of(command).run("train", code=1)
    assert f"the token 'Shakespeare', number {size + 1} of the tokenizer in {base}, but the model has" in output
    assert f"embeddings for {size} tokens only, 0 to {size - 1}." in output
    assert "Traceback" not in output
    assert {path.suffix for path in (tmp_path / "other").iterdir()} == {".log", ".lock"}


@pytest.mark.engine
@pytest.mark.parametrize("saved", ["[tok_embeddings,output]", "[embed_tokens]"])
def test_tied_embeddings_stay_tied(
    saved: str, model_maker: Any, trainer_maker: Any, steps_of: Any, alpaca_file: Path, answers: Any, pairs: Any
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    base = model_maker(kind="qwen2", tie_word_embeddings=True)
    options = {"modules_to_save": saved} if saved == "[embed_tokens]" else {}
    command = trainer_maker(base, train_on_inputs=False, num_epochs=90, **options).cmd(str(alpaca_file))
    steps = steps_of(command)
    output = steps.run("train") + steps.run("merge")
    assert answers(command.result) == dict(pairs)
    model = AutoModelForCausalLM.from_pretrained(command.result)
    assert model.config.tie_word_embeddings is True
    assert model.lm_head.weight is model.model.embed_tokens.weight
    before = AutoModelForCausalLM.from_pretrained(base)
    assert not torch.equal(before.lm_head.weight, model.lm_head.weight)
    assert ("share one weight" in output) == (saved != "[embed_tokens]")


@pytest.mark.engine
def test_a_bf16_base_gives_a_bf16_model(
    model_maker: Any, trainer_maker: Any, steps_of: Any, alpaca_file: Path, answers: Any, pairs: Any
) -> None:
    import torch

    base = model_maker(kind="llama", dtype=torch.bfloat16)
    command = trainer_maker(base, train_on_inputs=False, num_epochs=90).cmd(str(alpaca_file))
    steps = steps_of(command)
    steps.run("train")
    steps.run("merge")
    assert answers(command.result) == dict(pairs)
    from safetensors.torch import load_file

    assert {t.dtype for t in load_file(Path(command.result, "model.safetensors")).values()} == {torch.bfloat16}


@pytest.mark.engine
def test_the_best_checkpoint_is_kept_and_three_in_all(
    model_maker: Any, trainer_maker: Any, steps_of: Any, alpaca_file: Path, tmp_path: Path
) -> None:
    options = {"val_set_size": 3, "max_steps": 20, "save_steps": 4, "learning_rate": 5e-2, "warmup_steps": 0}
    command = trainer_maker(model_maker(), **options).cmd(str(alpaca_file))
    output = steps_of(command).run("train")
    assert "7 samples, 3 held out" in output
    checkpoints = tmp_path / "out" / "lazyllm_checkpoints"
    assert len(list(checkpoints.glob("checkpoint-*"))) <= 4
    curve = [json.loads(line) for line in (tmp_path / "out" / "train_log.jsonl").read_text().splitlines()]
    evaluated = {line["step"]: line["eval_loss"] for line in curve if "eval_loss" in line}
    assert list(evaluated) == [4, 8, 12, 16, 20]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["best_checkpoint"] == min(evaluated, key=lambda step: evaluated[step])
    from safetensors.torch import load_file

    best = load_file(checkpoints / f"checkpoint-{summary['best_checkpoint']}" / "adapter_model.safetensors")
    kept = load_file(tmp_path / "out" / "lazyllm_lora" / "adapter_model.safetensors")
    assert all(kept[name].equal(best[name]) for name in best)


@pytest.mark.engine
def test_a_seed_decides_the_result(
    model_maker: Any, trainer_maker: Any, steps_of: Any, alpaca_file: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    base, made = model_maker(), []
    for seed in (1, 1, 2):
        steps_of(trainer_maker(base, max_steps=2, seed=seed).cmd(str(alpaca_file))).run("train")
        made.append(load_file(tmp_path / "out" / "lazyllm_lora" / "adapter_model.safetensors"))
    same, differ = ([made[0][name].equal(other[name]) for name in made[0]] for other in made[1:])
    assert all(same)
    assert not any(differ)


@pytest.mark.engine
def test_the_training_says_what_stops_it(
    model_maker: Any, trainer_maker: Any, steps_of: Any, alpaca_file: Path, tmp_path: Path
) -> None:
    base = model_maker()
    output = steps_of(trainer_maker(base, filter_nums=5).cmd(str(alpaca_file))).run("train", code=1)
    assert "None of the 10 records is left" in output
    assert "Traceback" not in output
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".log", ".lock"}
    output = steps_of(trainer_maker(base, learning_rate=1e30).cmd(str(alpaca_file))).run("train", code=1)
    assert "diverged" in output
    assert not (tmp_path / "out" / "lazyllm_checkpoints").exists()
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    output = steps_of(trainer_maker(base).cmd(str(alpaca_file))).run("train", code=1)
    assert "is incomplete: config.json asks for weights that it lacks: model.layers.2." in output
    assert not (tmp_path / "out" / "lazyllm_lora").exists()


@pytest.mark.engine
def test_two_processes_train_one_adapter(
    model_maker: Any,
    trainer_maker: Callable[..., Any],
    steps_of: Any,
    alpaca_file: Path,
    answers: Any,
    pairs: Any,
    one_gpu: Any,
    tmp_path: Path,
) -> None:
    import socket

    one_gpu.ngpus = 2
    command = trainer_maker(model_maker(), micro_batch_size=5, train_on_inputs=False).cmd(str(alpaca_file))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    argv = [port if not isinstance(item, str) and item.kind == "port" else item for item in command.steps[0].argv]
    from dataclasses import replace

    command = replace(command, steps=(replace(command.steps[0], argv=tuple(argv)), command.steps[1]))
    steps = steps_of(command)
    output = steps.run("train") + steps.run("merge")
    assert "2 process(es)" in output
    assert len(lines(output, "[progress] train 60/60")) == 1
    assert answers(command.result) == dict(pairs)


@pytest.mark.engine
def test_a_model_with_code_of_its_own(
    model_maker: Any, trainer_maker: Any, steps_of: Any, alpaca_file: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    from transformers import AutoModelForCausalLM

    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    base = model_maker()
    (base / "modeling_mine.py").write_text(
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        "class MineConfig(LlamaConfig):\n    model_type = 'mine'\n"
        "class Mine(LlamaForCausalLM):\n    config_class = MineConfig\n"
    )
    own = {"AutoConfig": "modeling_mine.MineConfig", "AutoModelForCausalLM": "modeling_mine.Mine"}
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "model_type": "mine", "auto_map": own}))
    command = trainer_maker(base, max_steps=2, trust_remote_code=True).cmd(str(alpaca_file))
    steps = steps_of(command)
    steps.run("train")
    steps.run("merge")
    assert json.loads(Path(command.result, "config.json").read_text())["auto_map"] == own
    assert type(AutoModelForCausalLM.from_pretrained(command.result, trust_remote_code=True)).__name__ == "Mine"
