"""Models of many architectures: what is trained is what is merged, and a shared weight stays shared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lazyllm.errors import ModelError
from lazyllm_finetune_alpacalora.config import RunConfig

KINDS: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "bloom": {},
    "falcon": {},
    "gpt_bigcode": {},
    "opt": {"ffn_dim": 128, "word_embed_proj_dim": 64},
    "gemma3_text": {"head_dim": 16},
    "biogpt": {},  # its head has another name
    "rwkv": {"attention_hidden_size": 64, "tie_word_embeddings": True},  # so have both
    "bert": {"is_decoder": True},  # its head has a bias
    "mamba": {"state_size": 8},
    "mixtral": {"num_local_experts": 4},
    "deepseek_v3": {
        **{"n_routed_experts": 4, "n_group": 1, "topk_group": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
        **{"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8},
        **{"first_k_dense_replace": 1, "num_key_value_heads": 4},
    },
    "phimoe": {"num_local_experts": 4},  # its router is a linear layer by class, but gives several things
    "phi": {},
}
TIED = {"gpt2", "bloom", "falcon", "gpt_bigcode", "opt", "gemma3_text", "biogpt", "rwkv", "bert", "mamba"}


@pytest.fixture
def trained(
    model_maker: Callable[..., Path], trainer_maker: Callable[..., Any], alpaca_file: Path, tmp_path: Path
) -> Callable[..., tuple[Path, RunConfig]]:
    """(kind, **keywords) -> the base model's folder and the configuration of a run that has trained, in here."""

    def train(kind: str, **keywords: Any) -> tuple[Path, RunConfig]:
        from lazyllm_finetune_alpacalora.train import run_training

        base = model_maker(kind=kind, **KINDS[kind])
        options = {"max_steps": 3, "warmup_steps": 0, "cutoff_len": 200, "learning_rate": 2e-2, **keywords}
        file = tmp_path / "run.json"
        file.write_text(trainer_maker(base, **options).cmd(str(alpaca_file)).files["run.json"])
        config = RunConfig.load(file)
        run_training(config)
        return base, config

    return train


def weights(folder: str | Path) -> Any:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    return SimpleNamespace(model=model, embedding=embedding.weight, head=head.weight)


@pytest.mark.engine
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_is_trained_is_what_is_merged(kind: str, trained: Any, capsys: pytest.CaptureFixture[str]) -> None:
    import torch
    from peft import PeftModel

    from lazyllm_finetune_alpacalora.merge import run_merge

    base, config = trained(kind)
    run_merge(config)
    output = capsys.readouterr().out
    before, after = weights(base), weights(config.merge_path)
    assert (before.head is before.embedding) == (after.head is after.embedding) == (kind in TIED)
    assert ("share one weight" in output) == (kind in TIED)
    assert not torch.equal(before.head, after.head)
    assert not torch.equal(before.embedding, after.embedding)
    name = {"_name_or_path": ""}
    assert after.model.config.to_dict() | name == before.model.config.to_dict() | name
    assert ("experts stay as they are" in output) == (kind in ("mixtral", "deepseek_v3", "phimoe"))
    assert ("out_proj left out" in output) == (kind == "mamba")
    if kind != "bert":  # peft's own tying drops a head's bias: its adapter is for the merging alone
        ids = torch.arange(20).unsqueeze(0)
        adapted = PeftModel.from_pretrained(before.model, config.target_path).eval()
        with torch.no_grad():
            assert torch.allclose(adapted(input_ids=ids).logits, after.model.eval()(input_ids=ids).logits, atol=1e-4)


@pytest.mark.engine
@pytest.mark.parametrize("name", ["transformer.wte", "lm_head"])
def test_a_shared_weight_named_by_the_user(name: str, trained: Any) -> None:
    from lazyllm_finetune_alpacalora.merge import run_merge

    _, config = trained("gpt2", modules_to_save=f"[{name}]")
    run_merge(config)
    after = weights(config.merge_path)
    assert after.head is after.embedding


@pytest.mark.engine
def test_the_merge_proves_what_was_trained(trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import load_file, save_file

    from lazyllm_finetune_alpacalora import tied
    from lazyllm_finetune_alpacalora.merge import run_merge

    _, config = trained("rwkv")
    with monkeypatch.context() as patch:
        patch.setattr(tied, "tie", lambda model: None)
        with pytest.raises(ModelError, match=r"no longer do so in the merged one \(settings that differ: tie_word"):
            run_merge(config)
    file = Path(config.target_path, "adapter_model.safetensors")
    saved = load_file(file)
    save_file({name: tensor * 1.1 for name, tensor in saved.items()}, file)
    with pytest.raises(ModelError, match="from the model that was trained"):
        run_merge(config)
    assert not Path(config.merge_path).exists()
    save_file(saved, file)
    run_merge(config)
    assert Path(config.merge_path).exists()


@pytest.mark.main
def test_a_head_that_computes_otherwise_is_refused() -> None:
    import torch

    from lazyllm_finetune_alpacalora.tied import tie

    class Doubling(torch.nn.Linear):
        def forward(self, x: Any) -> Any:
            return 2 * super().forward(x)

    embedding = torch.nn.Embedding(8, 4)
    for head in (torch.nn.Linear(4, 8, bias=False), Doubling(4, 8, bias=False)):
        model = SimpleNamespace(
            get_input_embeddings=lambda: embedding, get_output_embeddings=lambda head=head: head, config=None
        )
        adapted = SimpleNamespace(get_base_model=lambda model=model: model)
        if isinstance(head, Doubling):
            with pytest.raises(ModelError, match=r"cannot be kept so(.|\n)*modules_to_save='\[\]'"):
                tie(adapted)
        else:
            tie(adapted)
            assert head.weight is embedding.weight


@pytest.mark.main
def test_what_peft_cannot_adapt_is_one_message(model_maker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import peft

    from lazyllm_finetune_alpacalora.model import add_lora, load_base
    from lazyllm_finetune_alpacalora.modules import modules_of
    from lazyllm_finetune_alpacalora.params import DEFAULTS
    from lazyllm_finetune_alpacalora.targets import resolve

    def refuse(*args: Any) -> None:
        raise TypeError("not this one")

    model = load_base(str(model_maker()), "auto", False)
    modules = modules_of(model)
    monkeypatch.setattr(peft, "get_peft_model", refuse)
    with pytest.raises(ModelError, match=r"peft cannot adapt LlamaForCausalLM so: not this one"):
        add_lora(model, DEFAULTS, resolve(DEFAULTS, (), modules), modules)


@pytest.mark.engine
def test_nothing_but_our_own_lines_is_told(
    model_maker: Any, trainer_maker: Any, steps_of: Any, alpaca_file: Path, tmp_path: Path
) -> None:
    command = trainer_maker(model_maker(kind="gpt2"), max_steps=2).cmd(str(alpaca_file))
    steps = steps_of(command)
    output = steps.run("train") + steps.run("merge")
    assert "Warning" not in output
    assert "[transformers]" not in output
    assert json.loads(Path(command.result, "config.json").read_text())["tie_word_embeddings"] is True
