"""What a training may replace, remove and write over: its own, and nothing of anybody else's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lazyllm.errors import InputError
from lazyllm_finetune_alpacalora.config import RunConfig
from lazyllm_finetune_alpacalora.places import (
    LOCK,
    check_folders,
    claim_checkpoints,
    remove_partials,
    unclaimed_on_failure,
)
from lazyllm_finetune_alpacalora.publish import MARK
from lazyllm_finetune_alpacalora.runs import clean, find_run

Maker = Callable[..., Any]


def configured(command: Any, tmp_path: Path) -> RunConfig:
    file = tmp_path / "written.json"
    file.write_text(command.files["run.json"])
    return RunConfig.load(file)


def put(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("mine")
    return folder


def test_a_folder_called_checkpoints_is_the_users(
    empty_model: Path, alpaca_file: Path, tmp_path: Path, trainer_maker: Maker
) -> None:
    out = tmp_path / "out"
    notes = put(out / "checkpoints", "notes.txt")
    base = shutil.copytree(empty_model, out / "checkpoints" / "base")
    data = alpaca_file.rename(out / "checkpoints" / "train.json")
    config = configured(trainer_maker(base).cmd(data), tmp_path)
    claim_checkpoints(config)
    clean(config, find_run(config, 1))
    assert sorted(path.name for path in notes.iterdir()) == ["base", "notes.txt", "train.json"]


def test_only_checkpoints_are_removed_from_our_folder(
    empty_model: Path, alpaca_file: Path, tmp_path: Path, trainer_maker: Maker
) -> None:
    config = configured(trainer_maker(empty_model).cmd(alpaca_file), tmp_path)
    claim_checkpoints(config)
    put(config.checkpoints / "checkpoint-4", "weights")
    put(config.checkpoints / "checkpoint-mine", "weights")
    put(config.checkpoints, "notes.txt")
    clean(config, find_run(config, 1))
    assert sorted(path.name for path in config.checkpoints.iterdir()) == ["checkpoint-mine", MARK, "notes.txt"]


@pytest.mark.parametrize(
    ("before", "made", "left"),
    [
        (None, [], None),
        ([], [], []),
        (["notes.txt"], [], ["notes.txt"]),
        ([MARK], [], [MARK]),
        (None, ["checkpoint-4"], [MARK, "checkpoint-4"]),
    ],
    ids=str,
)
def test_a_run_that_never_trained_leaves_nothing(
    before: list[str] | None,
    made: list[str],
    left: list[str] | None,
    empty_model: Path,
    alpaca_file: Path,
    tmp_path: Path,
    trainer_maker: Maker,
) -> None:
    config = configured(trainer_maker(empty_model).cmd(alpaca_file), tmp_path)
    if before is not None:
        put(config.checkpoints, *before)
    with pytest.raises(InputError, match="none left"), unclaimed_on_failure(config):
        claim_checkpoints(config)
        put(config.checkpoints, *made)
        raise InputError("none left")
    found = sorted(path.name for path in config.checkpoints.iterdir()) if config.checkpoints.exists() else None
    assert found == (sorted(left) if left is not None else None)


@pytest.mark.parametrize("name", ["lazyllm_lora", "lazyllm_merge", "lazyllm_checkpoints"])
def test_a_foreign_folder_is_not_replaced(
    name: str, empty_model: Path, alpaca_file: Path, tmp_path: Path, trainer_maker: Maker
) -> None:
    trainer = trainer_maker(empty_model)
    config = configured(trainer.cmd(alpaca_file), tmp_path)
    folder = put(tmp_path / "out" / name, "thesis.txt")
    with pytest.raises(InputError, match=rf"{name} holds files that no training put there(.|\n)*another folder"):
        trainer.cmd(alpaca_file)
    with pytest.raises(InputError, match="no training put there"):
        check_folders(config)  # as the training itself looks again
    assert (folder / "thesis.txt").read_text() == "mine"
    put(folder, MARK)
    assert trainer.cmd(alpaca_file).result == str(tmp_path / "out" / "lazyllm_merge")


def test_a_file_in_a_folders_place_is_refused(
    empty_model: Path, alpaca_file: Path, tmp_path: Path, trainer_maker: Maker
) -> None:
    put(tmp_path / "out", "lazyllm_checkpoints")
    with pytest.raises(InputError, match="lazyllm_checkpoints is a file"):
        trainer_maker(empty_model).cmd(alpaca_file)


@pytest.mark.parametrize("name", ["summary.json", "train_log.jsonl", "training_loss.png"])
def test_foreign_files_are_not_written_over(
    name: str, empty_model: Path, alpaca_file: Path, tmp_path: Path, trainer_maker: Maker
) -> None:
    put(tmp_path / "out", name)
    with pytest.raises(InputError, match=rf"holds {name}, which no training put there(.|\n)*move them away"):
        trainer_maker(empty_model).cmd(alpaca_file)
    put(tmp_path / "out", LOCK)  # a training has been here
    trainer_maker(empty_model).cmd(alpaca_file)


@pytest.mark.parametrize(
    "place",
    ["lazyllm_checkpoints", "lazyllm_checkpoints/checkpoint-1", "summary.json", "adapter_config.json", LOCK, MARK],
)
def test_a_merged_model_goes_nowhere_in_what_the_run_itself_writes(
    place: str, empty_model: Path, alpaca_file: Path, tmp_path: Path, trainer_maker: Maker
) -> None:
    with pytest.raises(InputError, match=f"merge_path: .*puts its own {place.partition('/')[0]}"):
        trainer_maker(empty_model, merge_path=str(tmp_path / "out" / place)).cmd(alpaca_file)
    assert trainer_maker(empty_model, merge_path=str(tmp_path / "out" / "merged" / place)).cmd(alpaca_file)


def test_an_adapter_never_goes_among_foreign_files_of_its_names(
    empty_model: Path, alpaca_file: Path, tmp_path: Path, trainer_maker: Maker
) -> None:
    put(tmp_path / "out", "tokenizer.json", "adapter_config.json", "notes.txt")
    with pytest.raises(InputError, match="holds adapter_config.json, tokenizer.json, which"):
        trainer_maker(empty_model, merge_path=str(tmp_path / "merged")).cmd(alpaca_file)
    put(tmp_path / "other" / "additional_chat_templates", "mine.jinja")
    with pytest.raises(InputError, match="holds additional_chat_templates, which"):
        options = {"target_path": str(tmp_path / "other"), "merge_path": str(tmp_path / "merged")}
        trainer_maker(empty_model, **options).cmd(alpaca_file)
    trainer_maker(empty_model).cmd(alpaca_file)  # here the adapter has a folder of its own


def test_a_base_does_not_lie_in_what_is_replaced(
    empty_model: Path, alpaca_file: Path, tmp_path: Path, trainer_maker: Maker
) -> None:
    folder = put(tmp_path / "out" / "lazyllm_checkpoints", MARK)
    base = empty_model.rename(folder / "base")
    with pytest.raises(InputError, match="base model .* lies in .*lazyllm_checkpoints"):
        trainer_maker(base).cmd(alpaca_file)


@pytest.mark.parametrize("name", ["lazyllm_merge/train.json", "lazyllm_lora/train.json", "summary.json"])
@pytest.mark.parametrize("argument", ["trainset", "valset"])
def test_data_does_not_lie_in_what_is_written(
    name: str, argument: str, empty_model: Path, alpaca_file: Path, tmp_path: Path, trainer_maker: Maker
) -> None:
    inside = tmp_path / "out" / name
    inside.parent.mkdir(parents=True)
    inside.write_bytes(alpaca_file.read_bytes())
    given = {"trainset": alpaca_file, argument: inside}
    with pytest.raises(InputError, match="lies in .* replaced|written over"):
        trainer_maker(empty_model).cmd(**given)


def test_a_data_folder_does_not_hold_the_results(
    empty_model: Path, alpaca_file: Path, tmp_path: Path, trainer_maker: Maker
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    alpaca_file.rename(folder / "train.json")
    trainer = trainer_maker(empty_model, target_path=folder / "out")
    with pytest.raises(InputError, match="whose files would be read as data"):
        trainer.cmd(folder)
    trainer.cmd(folder / "train.json")


def test_a_name_leaves_room_for_what_is_made_beside_it(
    empty_model: Path, alpaca_file: Path, tmp_path: Path, trainer_maker: Maker
) -> None:
    with pytest.raises(InputError, match="more than 200 bytes"):
        trainer_maker(empty_model, merge_path=str(tmp_path / ("m" * 230))).cmd(alpaca_file)


def test_runs_of_one_folder_make_their_results_apart(
    empty_model: Path, alpaca_file: Path, tmp_path: Path, trainer_maker: Maker
) -> None:
    first, second = (trainer_maker(empty_model).cmd(alpaca_file) for _ in range(2))
    assert len({*first.scratch, *second.scratch}) == 4
    for path in (*first.scratch, *second.scratch):
        put(Path(path), "half")
    other = put(tmp_path / "out" / ".lazyllm_merge.0123abcd-1.partial", "of a training from another folder")
    config = configured(second, tmp_path)
    assert {str(config.adapter_partial), str(config.merge_partial)} == set(second.scratch)
    remove_partials(config)  # by the run that has the lock: all the others are dead
    assert [path for path in (tmp_path / "out").iterdir() if path.name.endswith(".partial")] == [other]


def test_results_of_our_own_are_replaced_as_ever(
    empty_model: Path, alpaca_file: Path, tmp_path: Path, trainer_maker: Maker
) -> None:
    out = tmp_path / "out"
    put(out, LOCK, "summary.json", "train_log.jsonl", "training_loss.png", "LLM_2026-01-01_00-00-00.log")
    for name in ("lazyllm_lora", "lazyllm_merge", "lazyllm_checkpoints"):
        put(out / name, MARK, "model.safetensors")
    assert json.loads(trainer_maker(empty_model).cmd(alpaca_file).files["run.json"])["root"] == str(out)
