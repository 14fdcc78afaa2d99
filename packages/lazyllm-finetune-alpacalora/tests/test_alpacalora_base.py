"""What is refused of a base model, and of the names of its modules, before anything starts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lazyllm.errors import InputError, ModelError

Maker = Callable[..., Any]


def base_with(folder: Path, config: dict[str, Any], **files: bytes) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(content)
    return folder


OWN_CODE = {"model_type": "mine", "auto_map": {"AutoModelForCausalLM": "modeling.Mine"}}


@pytest.mark.parametrize(
    ("config", "files", "message"),
    [
        ({"model_type": "llamma"}, {}, r"'llamma'.*no causal language model.*Did you mean 'llama"),
        ({}, {}, "model_type"),
        ({"model_type": "t5"}, {}, "'t5'.*no causal language model"),
        ({"model_type": "bart", "is_encoder_decoder": True}, {}, "'bart' is an encoder-decoder"),
        ({"model_type": "llama", "architectures": ["LlamaForSequenceClassification"]}, {}, "classifies texts"),
        (OWN_CODE, {}, "code of its own(.|\n)*--trust-remote-code true"),
        ({"model_type": "llama"}, {"tokenizer__json": b"{"}, "tokenizer.json cannot be read"),
        ({"model_type": "llama"}, {"tokenizer__json": b"{}"}, "tokenizer.json is no tokenizer"),
        ({"model_type": "llama"}, {"generation_config__json": b"[]"}, "generation_config.json holds no JSON object"),
        ({"model_type": "llama"}, {"model__safetensors": b"\2" + b"\0" * 7 + b"[]"}, "header cannot be read"),
        ({"model_type": "llama"}, {"model__safetensors": b"\n" + b"\0" * 7 + b'{"a":null}'}, "header cannot be read"),
        ({"model_type": "llama"}, {"model__safetensors": b""}, "cut off"),
        (
            {"model_type": "llama"},
            {"x__index.json": b'{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}'},
            "incomplete: x.index.json names one.safetensors, two.safetensors, not there",
        ),
        ({"model_type": "llama"}, {"x__index.json": b"[]"}, "holds no JSON object"),
        ({"model_type": "llama"}, {"x__index.json": b'{"weight_map": []}'}, "no index"),
    ],
    ids=str,
)
def test_a_base_that_cannot_be_trained_is_refused(
    empty_model: Path,
    alpaca_file: Path,
    tmp_path: Path,
    trainer_maker: Maker,
    config: dict[str, Any],
    files: dict[str, bytes],
    message: str,
) -> None:
    with pytest.raises(ModelError, match=message):
        trainer_maker(base_with(empty_model, config, **files)).cmd(alpaca_file)
    assert not (tmp_path / "out").exists()


def test_a_models_own_code_runs_only_on_demand(empty_model: Path, alpaca_file: Path, trainer_maker: Maker) -> None:
    command = trainer_maker(base_with(empty_model, OWN_CODE), trust_remote_code=True).cmd(alpaca_file)
    assert json.loads(command.files["run.json"])["params"]["trust_remote_code"] is True


def test_weights_that_nothing_here_loads_are_refused(
    empty_model: Path, alpaca_file: Path, trainer_maker: Maker
) -> None:
    (empty_model / "model.safetensors").rename(empty_model / "model.pt")
    with pytest.raises(ModelError, match="no weights that transformers loads"):
        trainer_maker(empty_model).cmd(alpaca_file)


def test_messages_need_a_chat_template(empty_model: Path, tmp_path: Path, trainer_maker: Maker) -> None:
    chat = tmp_path / "chat.json"
    chat.write_text('[{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}]')
    with pytest.raises(ModelError, match="no chat template"):
        trainer_maker(empty_model).cmd(chat)


@pytest.mark.parametrize("kind", ["PreTrainedTokenizerFast", "TokenizersBackend"])
def test_a_tokenizer_without_an_end_is_refused(
    kind: str, empty_model: Path, alpaca_file: Path, trainer_maker: Maker
) -> None:
    file = empty_model / "tokenizer_config.json"
    trainer = trainer_maker(empty_model)
    for given in ({}, {"eos_token": None}):
        file.write_text(json.dumps({"tokenizer_class": kind, **given}))
        with pytest.raises(ModelError, match="no end-of-sequence token(.|\n)*eos_token in .*tokenizer_config.json"):
            trainer.cmd(alpaca_file)
    for given in ({"eos_token": "E"}, {"eos_token": {"content": "E"}}, {"tokenizer_class": "GPT2Tokenizer"}):
        file.write_text(json.dumps({"tokenizer_class": kind, **given}))
        trainer.cmd(alpaca_file)
    file.write_text(json.dumps({"tokenizer_class": kind}))
    (empty_model / "config.json").write_text('{"model_type": "qwen2"}')
    trainer.cmd(alpaca_file)


def test_a_quantised_base_is_refused(empty_model: Path, alpaca_file: Path, trainer_maker: Maker) -> None:
    (empty_model / "config.json").write_text('{"quantization_config": {"bits": 4}}')
    with pytest.raises(ModelError, match="quantised"):
        trainer_maker(empty_model).cmd(alpaca_file)


def put_header(folder: Path, header: dict[str, Any]) -> None:
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)


def test_module_names_are_checked_against_the_weight_file(
    empty_model: Path, alpaca_file: Path, trainer_maker: Maker
) -> None:
    tensor = {"dtype": "F32", "shape": [0, 0], "data_offsets": [0, 0]}
    names = ("layers.0.self_attn.q_proj", "embed_tokens")
    header: dict[str, Any] = {f"model.{name}.weight": tensor for name in names}
    put_header(empty_model, {**header, "model.norm.weight": {**tensor, "shape": [0]}, "__metadata__": {"a": "b"}})
    trainer_maker(empty_model, lora_target_modules="[q_proj]", modules_to_save="lm_head").cmd(alpaca_file)
    with pytest.raises(InputError, match=r"'q_porj'\. Did you mean 'q_proj'\?\n.*Its modules are: q_proj\."):
        trainer_maker(empty_model, lora_target_modules="[q_porj]").cmd(alpaca_file)
    with pytest.raises(InputError, match=r"'norm' is no linear layer"):
        trainer_maker(empty_model, lora_target_modules="[norm]").cmd(alpaca_file)
    with pytest.raises(InputError, match=r"'embed_tokens' is no linear layer(.|\n)*with a matrix are: q_proj\."):
        trainer_maker(empty_model, lora_target_modules="[q_proj,embed_tokens]").cmd(alpaca_file)
    with pytest.raises(InputError, match=r"'none'\.\n.*For none: modules_to_save='\[\]'"):
        trainer_maker(empty_model, modules_to_save="none").cmd(alpaca_file)
    with pytest.raises(InputError, match=r"q_proj: named both"):
        trainer_maker(empty_model, modules_to_save="q_proj", lora_target_modules="q_proj").cmd(alpaca_file)


def test_layers_that_peft_refuses_are_refused_before_the_job(
    empty_model: Path, alpaca_file: Path, trainer_maker: Maker
) -> None:
    (empty_model / "config.json").write_text('{"model_type": "mamba2"}')
    trainer_maker(empty_model, lora_target_modules="[in_proj]").cmd(alpaca_file)
    with pytest.raises(InputError, match="'out_proj' cannot be adapted in this model"):
        trainer_maker(empty_model, lora_target_modules="[in_proj,out_proj]").cmd(alpaca_file)


def test_a_cut_off_weight_file_is_refused(empty_model: Path, alpaca_file: Path, trainer_maker: Maker) -> None:
    put_header(empty_model, {"a.weight": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}})
    with pytest.raises(ModelError, match="cut off"):
        trainer_maker(empty_model).cmd(alpaca_file)
