"""Keywords, their adaptation to data and machine, and module names; no torch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lazyllm.errors import InputError
from lazyllm_finetune_alpacalora.params import DEFAULTS, DS_CONFIG, check_params
from lazyllm_finetune_alpacalora.plan import plan_batch, plan_deepspeed, plan_length, plan_schedule, plan_validation
from lazyllm_finetune_alpacalora.targets import Modules, parse_names, refused_in, resolve

LLAMA = Modules(
    names=("model", "model.embed_tokens", "model.layers.0.self_attn", "model.layers.0.self_attn.q_proj", "lm_head"),
    linear=("model.layers.0.self_attn.q_proj", "lm_head"),
    embedding="model.embed_tokens",
    head="lm_head",
    tied=False,
)
INTERNLM2 = Modules(
    names=("model.tok_embeddings", "model.layers.0.attention.wqkv", "model.layers.0.attention.wo", "output"),
    linear=("model.layers.0.attention.wqkv", "model.layers.0.attention.wo", "output"),
    embedding="model.tok_embeddings",
    head="output",
    tied=False,
)


def params(**given: Any) -> tuple[dict[str, Any], set[str]]:
    return check_params({**DEFAULTS, **given}, set(given)), set(given)


@pytest.mark.parametrize(("count", "held_out"), [(10, 0), (99, 0), (100, 10), (1000, 100), (2000, 200), (9000, 200)])
def test_validation_takes_at_most_a_tenth(count: int, held_out: int) -> None:
    found, notes = plan_validation(*params(), count)
    assert found == held_out
    assert bool(notes) == (held_out != 200)


def test_an_explicit_validation_size_is_obeyed_or_refused() -> None:
    assert plan_validation(*params(val_set_size=3), 4) == (3, ())
    with pytest.raises(InputError, match=r"val_set_size=4 .* 4 samples"):
        plan_validation(*params(val_set_size=4), 4)


@pytest.mark.parametrize(
    ("given", "world", "micro", "accumulation"),
    [
        ({}, 1, 4, 16),
        ({}, 8, 4, 2),
        ({"batch_size": 2}, 1, 2, 1),
        ({"batch_size": 10}, 1, 4, 2),
        ({"batch_size": 8}, 4, 2, 1),
        ({"batch_size": 64, "micro_batch_size": 8}, 2, 8, 4),
    ],
)
def test_accumulation_is_batch_by_micro_by_processes(
    given: dict[str, int], world: int, micro: int, accumulation: int
) -> None:
    batch = plan_batch(*params(**given), world)
    assert (batch.micro, batch.accumulation) == (micro, accumulation)
    whole = micro * accumulation * world == given.get("batch_size", 64)
    assert any("A step takes" in note for note in batch.notes) == (not whole)


def test_a_batch_that_explicit_values_do_not_allow_is_refused() -> None:
    with pytest.raises(InputError, match="take 16"):
        plan_batch(*params(batch_size=8, micro_batch_size=4), 4)


def test_defaults_fit_a_short_training() -> None:
    given = params(batch_size=4, num_epochs=10)
    schedule = plan_schedule(*given, train=10, held_out=0, batch=plan_batch(*given))
    assert (schedule.total, schedule.warmup, schedule.save_steps, schedule.eval_steps) == (30, 3, 8, 0)
    assert len(schedule.notes) == 2


def test_defaults_stand_in_a_long_training() -> None:
    given = params()
    schedule = plan_schedule(*given, train=64 * 1000, held_out=200, batch=plan_batch(*given))
    assert (schedule.total, schedule.warmup, schedule.save_steps, schedule.eval_steps) == (2000, 100, 200, 200)
    assert schedule.notes == ()


def test_lengths_fit_the_models_positions() -> None:
    assert plan_length(*params(), {}) == plan_length(*params(), {"n_positions": 2048}) == (1030, 1024, ())
    cutoff, keep, notes = plan_length(*params(), {"text_config": {"max_position_embeddings": 512}})
    assert (cutoff, keep, len(notes)) == (512, 512, 2)
    assert plan_length(*params(filter_nums=2000), {"n_positions": 512})[:2] == (512, 2000)
    with pytest.raises(InputError, match="cutoff_len=600 is more than the 512 positions"):
        plan_length(*params(cutoff_len=600), {"n_positions": 512})
    rotary = {"max_position_embeddings": 512, "rope_theta": 1e4}
    cutoff, keep, notes = plan_length(*params(cutoff_len=600), rotary)
    assert (cutoff, keep, len(notes)) == (600, 1024, 1)


def test_explicit_steps_are_obeyed_or_refused() -> None:
    with pytest.raises(InputError, match="eval_steps=3, but of 10 samples none is held out"):
        plan_schedule(*params(eval_steps=3), train=10, held_out=0, batch=plan_batch(*params()))
    given = params(max_steps=7, save_steps=3, warmup_steps=5)
    schedule = plan_schedule(*given, train=10, held_out=2, batch=plan_batch(*given))
    assert (schedule.total, schedule.warmup, schedule.save_steps, schedule.eval_steps) == (7, 5, 3, 3)
    with pytest.raises(InputError, match="warmup_steps=7"):
        plan_schedule(*params(max_steps=7, warmup_steps=7), train=10, held_out=0, batch=plan_batch(*params()))


def test_deepspeed_is_for_several_gpus_and_where_it_is_installed() -> None:
    for gpus in (0, 1):
        assert plan_deepspeed(*params(), gpus, True) == ("", ("deepspeed is not used: it is for several GPUs.",))
    assert plan_deepspeed(*params(), 2, False)[0] == ""
    assert plan_deepspeed(*params(), 2, True) == (DS_CONFIG, ())
    assert plan_deepspeed(*params(deepspeed=""), 2, True) == ("", ())
    with pytest.raises(InputError, match="pip install deepspeed"):
        plan_deepspeed(*params(deepspeed=DS_CONFIG), 2, False)


@pytest.mark.parametrize(
    "given",
    [
        {"lora_r": 0},
        {"lora_r": True},
        {"lora_r": "many"},
        {"lora_r": 1.5},
        {"lora_alpha": -1},
        {"lora_dropout": 1},
        {"lora_dropout": -0.1},
        {"learning_rate": 0},
        {"learning_rate": float("nan")},
        {"num_epochs": 0},
        {"num_epochs": [1]},
        {"batch_size": 0},
        {"batch_size": 2, "micro_batch_size": 4},
        {"micro_batch_size": 128},
        {"cutoff_len": 1},
        {"filter_nums": None},
        {"val_set_size": -1},
        {"val_set_size": 0.1},
        {"max_steps": 0},
        {"save_steps": 5, "eval_steps": 3},
        {"eval_steps": 5, "val_set_size": 0},
        {"warmup_steps": -1},
        {"seed": -1},
        {"seed": 2**32},
        {"batch_size": 10**30},
        {"lora_r": 10**400},
        {"learning_rate": -(10**400)},
        {"num_epochs": 1e300},
        {"deepspeed": __file__},
        {"deepspeed": "a\0"},
        {"train_on_inputs": "no"},
        {"nccl_port": 70000},
        {"deepspeed": "/nowhere/ds.json"},
        {"lora_target_modules": ""},
        {"lora_target_modules": 3},
        {"modules_to_save": [1]},
    ],
    ids=str,
)
def test_values_that_make_no_sense_are_refused_by_name(given: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(reversed(given))):
        params(**given)


def test_numbers_as_text_are_numbers() -> None:
    found, _ = params(lora_r="16", learning_rate="1e-3", train_on_inputs="false")
    assert (found["lora_r"], found["learning_rate"], found["train_on_inputs"]) == (16, 1e-3, False)


def test_the_command_line_takes_what_python_takes() -> None:
    import click

    from lazyllm.cli.keywords import parse
    from lazyllm_finetune_alpacalora.trainer import AlpacaloraFinetune

    def kept(*args: str) -> dict[str, Any]:
        _, found = parse(AlpacaloraFinetune, args, click.Command("finetune"))
        return {name: params(**found)[0][name] for name in found}

    found = kept("--num-epochs", "1.5", "--lora-alpha", "0.5", "--learning-rate", "1", "--gradient-checkpointing")
    assert found == {"num_epochs": 1.5, "lora_alpha": 0.5, "learning_rate": 1.0, "gradient_checkpointing": True}
    assert repr(kept("--num-epochs", "3", "--lora-alpha=16")) == "{'num_epochs': 3, 'lora_alpha': 16}"
    assert kept("--data-path", "5") == {"data_path": "5"}
    # however a number is written, it is the same run
    assert repr(params(num_epochs=3.0, learning_rate=1)[0]) == repr(params(num_epochs="3", learning_rate=1.0)[0])


@pytest.mark.parametrize("value", ["[a,b]", "a, b", "['a', \"b\"]", ["a", "b"], ("a", "b", "a")], ids=str)
def test_module_names_in_every_spelling(value: Any) -> None:
    assert parse_names(value, "x") == ("a", "b")


def test_no_module_names() -> None:
    assert parse_names("[]", "x") == parse_names("", "x") == parse_names([], "x") == parse_names(None, "x") == ()


def test_defaults_fit_internlm2() -> None:
    found = resolve(*params(), INTERNLM2)
    assert (found.targets, found.saved, found.notes) == (("wo", "wqkv"), ("tok_embeddings", "output"), ())


def test_defaults_give_way_elsewhere_and_say_so() -> None:
    found = resolve(*params(), LLAMA)
    assert (found.targets, found.saved) == (("q_proj",), ("embed_tokens", "lm_head"))
    assert len(found.notes) == 2
    assert "all its linear layers" in "".join(found.notes)


def test_tied_weights_are_trained_once() -> None:
    tied = Modules(LLAMA.names, LLAMA.linear, LLAMA.embedding, LLAMA.head, tied=True)
    assert resolve(*params(), tied).saved == ("embed_tokens",)
    assert resolve(*params(modules_to_save="lm_head"), tied).saved == ("embed_tokens",)


def test_explicit_names_must_exist() -> None:
    with pytest.raises(InputError, match=r"'q_porj'\. Did you mean 'q_proj'") as error:
        resolve(*params(lora_target_modules="[q_porj]"), LLAMA)
    assert "Its modules are: lm_head, q_proj" in str(error.value)
    with pytest.raises(InputError, match="no linear layer"):
        resolve(*params(lora_target_modules="self_attn"), LLAMA)
    with pytest.raises(InputError, match="modules_to_save: this model has no module 'lm_haed'"):
        resolve(*params(modules_to_save="lm_haed"), LLAMA)
    with pytest.raises(InputError, match="both"):
        resolve(*params(lora_target_modules="lm_head", modules_to_save="lm_head"), LLAMA)


MAMBA = Modules(
    names=("backbone.embeddings", "backbone.layers.0.mixer.in_proj", "backbone.layers.0.mixer.out_proj", "lm_head"),
    linear=("backbone.layers.0.mixer.in_proj", "backbone.layers.0.mixer.out_proj", "lm_head"),
    embedding="backbone.embeddings",
    head="lm_head",
    tied=True,
    refused=refused_in("mamba"),
)


@pytest.mark.parametrize("given", [{}, {"lora_target_modules": "all-linear"}])
def test_what_peft_refuses_is_left_out_and_said(given: dict[str, str]) -> None:
    found = resolve(*params(**given), MAMBA)
    assert found.targets == ("in_proj",)
    assert "out_proj left out: peft refuses" in found.notes[-1]
    assert resolve(*params(lora_target_modules="[in_proj]"), MAMBA).targets == ("in_proj",)
    with pytest.raises(InputError, match="'mixer.out_proj' cannot be adapted in this model: peft refuses it"):
        resolve(*params(lora_target_modules="[mixer.out_proj]"), MAMBA)


def test_what_peft_refuses_is_known_by_the_model_type() -> None:
    tuners = pytest.importorskip("peft.tuners.tuners_utils")
    from types import SimpleNamespace

    def refuses(kind: str, name: str) -> bool:
        try:
            model = SimpleNamespace(config=SimpleNamespace(model_type=kind))
            tuners._check_lora_target_modules_mamba(SimpleNamespace(peft_type="LORA"), model, name)
        except ValueError:
            return True
        return False

    for kind in ("mamba", "mamba2", "falcon_mamba", "falcon_h1", "nemotron_h", "jamba", "llama"):
        for name in ("out_proj", "conv1d", "in_proj"):
            assert refuses(kind, name) == (name in refused_in(kind))


def test_experts_that_stay_are_told_of() -> None:
    experts = replace(LLAMA, experts=("experts.gate_up_proj",))
    for given in ({}, {"lora_target_modules": "all-linear"}):
        assert "experts stay as they are" in resolve(*params(**given), experts).notes[-1]
    assert not resolve(*params(lora_target_modules="q_proj", modules_to_save="[]"), experts).notes


@pytest.mark.parametrize("name", ["lm_head", "embed_tokens", "model.embed_tokens"])
def test_a_shared_weight_is_trained_by_either_name(name: str) -> None:
    tied = replace(LLAMA, tied=True)
    assert resolve(*params(modules_to_save=name), tied).saved == (name.replace("lm_head", "embed_tokens"),)
    with pytest.raises(InputError, match="'lm_head' shares its weight with embed_tokens"):
        resolve(*params(modules_to_save="[]", lora_target_modules="[q_proj,lm_head]"), tied)


def test_all_linear_and_nothing_to_save() -> None:
    found = resolve(*params(lora_target_modules="all-linear", modules_to_save="[]"), LLAMA)
    assert (found.targets, found.saved, found.notes) == (("q_proj",), (), ())
