"""Folders that appear whole or not at all, runs that are told apart, and files beside the weights."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lazyllm.errors import InputError, ModelError
from lazyllm_finetune_alpacalora.companions import chat_templates, copy_companions, set_chat_templates, set_stops
from lazyllm_finetune_alpacalora.config import RunConfig
from lazyllm_finetune_alpacalora.publish import MARK, fresh, publish_files, publish_folder, recover, write_text
from lazyllm_finetune_alpacalora.runs import Run, clean, find_run, mark_complete

PARAMS = {"lora_r": 8, "prompt_template_name": "alpaca", "deepspeed": ""}


def folder(path: Path, **files: str) -> Path:
    fresh(path)
    for name, text in files.items():
        (path / name).write_text(text)
    return path


def content(path: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in path.iterdir()}


def test_a_folder_takes_the_place_of_the_former(tmp_path: Path) -> None:
    made, place = folder(tmp_path / ".new", a="2"), folder(tmp_path / "place", a="1", b="1")
    publish_folder(made, place)
    assert content(place) == {"a": "2"}
    assert [p.name for p in tmp_path.iterdir()] == ["place"]
    publish_folder(folder(tmp_path / ".new", a="3"), tmp_path / "elsewhere")
    assert content(tmp_path / "elsewhere") == {"a": "3"}


def test_a_kill_between_the_renames_is_mended(tmp_path: Path) -> None:
    place = tmp_path / "place"
    folder(tmp_path / ".place.former", a="1")
    recover(place)
    assert content(place) == {"a": "1"}
    folder(tmp_path / ".place.former", a="0")
    recover(place)
    assert content(place) == {"a": "1"}
    assert not (tmp_path / ".place.former").exists()


def test_files_among_others_count_only_with_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder(tmp_path / "place", log="kept", config="old", weights="old")
    moved: list[str] = []
    whole = Path.replace

    def watch(self: Path, target: Path) -> Path:
        if Path(target).parent == place:
            assert not (place / "config").exists()
            moved.append(self.name)
        return whole(self, target)

    monkeypatch.setattr(Path, "replace", watch)
    publish_files(folder(tmp_path / ".new", config="new", weights="new", z="new"), place, last="config")
    assert moved == ["weights", "z", "config"]
    assert content(place) == {"log": "kept", "config": "new", "weights": "new", "z": "new"}


def test_published_files_are_readable_as_the_umask_says(tmp_path: Path) -> None:
    made = folder(tmp_path / ".new", weights="x")
    (made / "weights").chmod(0o600)
    before = os.umask(0o027)
    try:
        publish_folder(made, tmp_path / "place")
    finally:
        os.umask(before)
    assert (tmp_path / "place" / "weights").stat().st_mode & 0o777 == 0o640


def test_a_text_that_cannot_be_written_leaves_the_former(tmp_path: Path) -> None:
    write_text(tmp_path / "x", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "x", "\ud800")
    assert content(tmp_path) == {"x": "old"}


@pytest.fixture
def config(tmp_path: Path, alpaca_file: Path, empty_model: Path) -> RunConfig:
    root = tmp_path / "out"
    paths = {"root": str(root), "target_path": str(root / "lora"), "merge_path": str(root / "merge")}
    return RunConfig(base_model=str(empty_model), data=str(alpaca_file), log_file="", params=PARAMS, **paths)


def checkpoint(config: RunConfig, step: int, run: Run | None) -> Path:
    made = folder(config.checkpoints / f"checkpoint-{step}", weights="x")
    if run:
        mark_complete(made, run)
    return made


def test_a_killed_run_goes_on_from_its_last_whole_checkpoint(config: RunConfig) -> None:
    run = find_run(config, 1)
    assert (run.checkpoint, run.note) == (None, "")
    checkpoint(config, 5, run)
    tenth = checkpoint(config, 10, run)
    half = checkpoint(config, 15, None)
    again = find_run(config, 1)
    assert (again.checkpoint, again.id) == (tenth, run.id)
    assert "Resuming from step 10" in again.note
    clean(config, again)
    assert tenth.exists()
    assert not half.exists()


@pytest.mark.parametrize("change", ["params", "data", "processes", "base", "template", "chat"])
def test_another_run_never_takes_over_a_checkpoint(config: RunConfig, change: str) -> None:
    mine = Path(config.data).with_name("mine.json")
    mine.write_text("{}")
    config = replace(config, params={**PARAMS, "prompt_template_name": str(mine)})
    old = checkpoint(config, 5, find_run(config, 1))
    if change == "template":
        mine.write_text("[]")
    if change == "chat":
        named = Path(config.base_model, "additional_chat_templates")
        named.mkdir()
        (named / "tool_use.jinja").write_text("new")
    if change == "params":
        config = replace(config, params={**PARAMS, "lora_r": 4})
    if change == "data":
        Path(config.data).write_text('[{"instruction": "x", "output": "y"}]')
    if change == "base":
        Path(config.base_model, "config.json").write_text("{}")
    run = find_run(config, 2 if change == "processes" else 1)
    assert run.checkpoint is None
    assert "starting anew" in run.note
    clean(config, run)
    assert not old.exists()


def test_a_finished_run_starts_anew(config: RunConfig) -> None:
    run = find_run(config, 1)
    checkpoint(config, 5, run)
    write_text(Path(config.merge_path, MARK), json.dumps({"run": run.id}))
    again = find_run(config, 1)
    assert again.checkpoint is None
    assert "finished before" in again.note
    assert again.id != run.id


def test_a_configuration_survives_its_file(config: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(config.dumps())
    assert RunConfig.load(tmp_path / "c.json") == config
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(InputError, match="no training configuration"):
        RunConfig.load(tmp_path / "c.json")


def test_companions_come_along_but_never_weights(tmp_path: Path) -> None:
    base = folder(
        tmp_path / "base",
        **{
            "config.json": "old",
            "model.safetensors": "old",
            "tokenizer.json": "t",
            "mine.txt": "m",
            "modeling.py": "p",
        },
    )
    made = folder(tmp_path / "made", **{"config.json": "new", "model.safetensors": "new"})
    copy_companions(base, made, "*", code=False)
    assert content(made) == {
        **{"config.json": "new", "model.safetensors": "new"},
        **{"tokenizer.json": "t", "mine.txt": "m", "modeling.py": "p"},
    }
    (base / "sub").mkdir()
    (base / "sub" / "x.txt").write_text("deep")
    copy_companions(base, folder(tmp_path / "deep"), "**/*.txt", code=False)
    assert (tmp_path / "deep" / "sub" / "x.txt").read_text() == "deep"
    made = folder(tmp_path / "made", **{"config.json": "{}"})
    (base / "config.json").write_text('{"auto_map": {"AutoModel": "modeling.M"}}')
    copy_companions(base, made, "tokeniz*", code=True)
    assert sorted(content(made)) == ["config.json", "modeling.py", "tokenizer.json"]
    assert json.loads((made / "config.json").read_text())["auto_map"] == {"AutoModel": "modeling.M"}


@pytest.mark.parametrize(("known", "stops"), [(None, 2), (2, 2), (1, [1, 2]), ([1, 3], [1, 3, 2])])
def test_chat_template_and_stops_are_those_of_the_training(tmp_path: Path, known: Any, stops: Any) -> None:
    settings = json.dumps({"chat_template": "old", "eos_token": "E"})
    made = folder(tmp_path / "made", **{"tokenizer_config.json": settings, "chat_template.jinja": "old"})
    if known is not None:
        (made / "generation_config.json").write_text(json.dumps({"eos_token_id": known, "top_p": 0.5}))
    set_chat_templates(made, {"default": "new"})
    set_stops(made, [2])
    assert (made / "chat_template.jinja").read_text() == "new"
    assert json.loads((made / "tokenizer_config.json").read_text()) == {"eos_token": "E"}
    assert json.loads((made / "generation_config.json").read_text())["eos_token_id"] == stops


def test_named_chat_templates_are_written_as_they_read_back(tmp_path: Path, tokenizer_maker: Any) -> None:
    from transformers import AutoTokenizer

    tokenizer = tokenizer_maker(tmp_path / "base")
    for templates in ({"default": "a\n", "tool_use": "b"}, {"default": "c"}, {"rag": "d"}, {}):
        tokenizer.chat_template = dict(templates)
        assert chat_templates(tokenizer) == templates
        made = folder(tmp_path / "made")
        (made / "additional_chat_templates").mkdir()
        (made / "additional_chat_templates" / "old.jinja").write_text("of the base, by cp_files")
        copy_companions(tmp_path / "base", made, "", code=False)
        set_chat_templates(made, templates)
        assert chat_templates(AutoTokenizer.from_pretrained(made)) == templates
    tokenizer.chat_template = "a\r\nb"
    assert chat_templates(tokenizer) == {"default": "a\nb"}
    tokenizer.chat_template = {"../mine": "a"}
    with pytest.raises(ModelError, match=r"chat template '../mine', which cannot be the name of a file"):
        chat_templates(tokenizer)


def test_a_folder_of_templates_takes_the_place_of_the_former(tmp_path: Path) -> None:
    place = folder(tmp_path / "place", config="old")
    for names in (["tool_use"], ["rag"], []):
        made = folder(tmp_path / ".new", config="new")
        for name in names:
            (made / "additional_chat_templates").mkdir()
            (made / "additional_chat_templates" / name).write_text(name)
        publish_files(made, place, last="config")
        assert [path.name for path in place.glob("additional_chat_templates/*")] == names


def test_numbers_that_the_base_cannot_hold_are_refused() -> None:
    import torch

    from lazyllm_finetune_alpacalora.merge import cast

    large = torch.tensor([1.0, -7e4])
    assert cast("w", large, torch.bfloat16).dtype is torch.bfloat16
    with pytest.raises(ModelError, match=r"merged layer.weight holds 7e\+04, more than .* torch.float16 can hold"):
        cast("layer.weight", large, torch.float16)
    mask = torch.tensor([0.0, -torch.inf])
    assert cast("mask", mask, torch.float16).tolist() == [0.0, -torch.inf]


@pytest.mark.parametrize(("free", "enough"), [(0, False), (2000, False), (2500, True)])
def test_a_merge_in_float32_needs_room_for_it(free: int, enough: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from lazyllm_finetune_alpacalora import merge

    class Weights:
        def numel(self) -> int:
            return 1000

        def element_size(self) -> int:
            return 2

    model: Any = SimpleNamespace(parameters=lambda: [Weights()])
    monkeypatch.setattr(merge, "free_memory", lambda: free)
    assert merge.enough_memory(model) is enough
