"""Where models and data are looked up, what is refused, and where trainers may write."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

import pytest

from lazyllm.components.keywords import merge_keywords
from lazyllm.components.paths import (
    as_path,
    check_apart,
    check_model,
    check_writable,
    find_data,
    find_model,
    has_weights,
)
from lazyllm.errors import DataError, InputError, ModelError

HOSTILE = "räd; $(touch pwned) 'q\" \n名"


def make_model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "model.safetensors").touch()
    (folder / "tokenizer.json").touch()
    return folder


@pytest.mark.parametrize("name", ["plain", HOSTILE])
def test_data_is_found_as_given_and_below_the_data_path(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "root").mkdir()
    file = tmp_path / "root" / name
    file.touch()
    assert find_data(file) == find_data(str(file)) == str(file)
    monkeypatch.setenv("LAZYLLM_DATA_PATH", str(tmp_path / "root"))
    assert find_data(name) == str(file)
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).touch()
    assert find_data(name) == str(tmp_path / name)  # as given comes first


def test_missing_data_names_what_is_near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAZYLLM_DATA_PATH", "/nowhere")
    (tmp_path / "train.json").touch()
    with pytest.raises(DataError, match=r"trian\.json' does not exist.*Did you mean 'train\.json'\?"):
        find_data(tmp_path / "trian.json")
    for number in range(20):
        (tmp_path / f"{number}.txt").touch()
    with pytest.raises(DataError, match=r"has: 0\.txt, 1\.txt, 10\.txt.*, …$"):
        find_data(tmp_path / "quite-another-name")
    with pytest.raises(DataError, match="Its folder .*/no does not exist either"):
        find_data(tmp_path / "no" / "x")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"\(nor /nowhere/trian\.json\).*Did you mean 'train\.json'"):
        find_data("trian.json")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "tiger.json").touch()
    monkeypatch.setenv("LAZYLLM_DATA_PATH", str(tmp_path / "below"))
    with pytest.raises(DataError, match=r"Did you mean 'tiger\.json'"):
        find_data("tigre.json")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "not by None"),
        (3, "not by 3"),
        ("", "not by ''"),
        (b"x", "not by b'x'"),
        ("a\0b", "NUL"),
        ("x" * 256, "too long"),
        ("y/" * 2100, "too long"),
        ("a\udcff", "no UTF-8"),
    ],
)
def test_what_can_be_no_path_is_refused(value: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        as_path(value, "target_path")
    assert str(error.value).startswith("target_path")
    assert len(str(error.value)) < 400
    for find, kind in ((find_data, DataError), (find_model, ModelError)):
        with pytest.raises(kind, match=message):
            find(value)  # type: ignore[operator]


def test_the_home_of_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert as_path("~/x", "x") == Path("/somewhere/x")
    assert as_path("~nobody-has-this-name/x", "x") == Path("~nobody-has-this-name/x")


def test_a_model_is_found_below_each_folder_of_the_model_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("lazyllm"), "propagate", True)
    second = make_model(tmp_path / "second" / "org" / HOSTILE)
    monkeypatch.setenv("LAZYLLM_MODEL_PATH", f"{tmp_path / 'first'}:{tmp_path / 'second'}")
    assert find_model(f"org/{HOSTILE}") == str(second)
    first = make_model(tmp_path / "first" / "org" / HOSTILE)
    assert find_model(f"org/{HOSTILE}") == str(first)
    with pytest.raises(ModelError, match=r"nor below .*first, .*second(.|\n)*LAZYLLM_MODEL_PATH"):
        find_model("org/none")
    with pytest.raises(ModelError, match="is a file"):
        find_model(first / "config.json")
    monkeypatch.setenv("LAZYLLM_MODEL_PATH", "models")
    with pytest.raises(ModelError, match="is no folder here"):
        find_model("x")
    assert "models is not absolute, and is left out" in caplog.text


def test_a_whole_model_passes(tmp_path: Path) -> None:
    assert check_model(str(make_model(tmp_path / "m"))) == {"model_type": "llama"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", None, "no config.json"),
        ("config.json", b"{", "cannot be read"),
        ("config.json", b"[]", "holds no JSON object"),
        ("config.json", b"\xff", "cannot be read"),
        ("model.safetensors", None, "no weights"),
        ("tokenizer.json", None, "no tokenizer"),
    ],
)
def test_what_a_model_lacks_is_named(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    folder = make_model(tmp_path / "m")
    (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    (folder / "training_args.bin").touch()
    with pytest.raises(ModelError, match=message):
        check_model(str(folder))


def test_results_that_are_no_model_say_where_it_is(tmp_path: Path) -> None:
    make_model(tmp_path / "out" / "lazyllm_merge")
    with pytest.raises(ModelError, match=r"no config.json(.|\n)*the model is .*out/lazyllm_merge"):
        check_model(str(tmp_path / "out"))
    adapter = tmp_path / "out" / "lazyllm_lora"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "/m/base"}))
    with pytest.raises(ModelError, match="an adapter, which needs its base model: /m/base"):
        check_model(str(adapter))


def test_weights_may_lie_deeper(tmp_path: Path) -> None:
    (tmp_path / "m" / "deep").mkdir(parents=True)
    assert not has_weights(tmp_path / "m")
    (tmp_path / "m" / "deep" / "x.bin").touch()
    assert has_weights(tmp_path / "m")


def test_a_folder_that_can_be_made_is_not_made(tmp_path: Path) -> None:
    check_writable(str(tmp_path / "a" / HOSTILE))
    assert not list(tmp_path.iterdir())


def test_folders_that_cannot_be_written_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    for name in ("file", "file/x", "dangling", "dangling/x"):
        with pytest.raises(InputError, match=r"target_path .* cannot be made: .* is not a folder"):
            check_writable(str(tmp_path / name))
    if sys.platform == "linux":
        with pytest.raises(InputError, match="target_path '/proc/x' cannot be written"):
            check_writable("/proc/x")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="merge_path .* no permission to write to"):
        check_writable(str(tmp_path / "x"), "merge_path")


def test_a_path_behind_a_closed_door_is_no_missing_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(self: Path, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", closed)
    with pytest.raises(DataError, match="cannot be reached: Permission denied"):
        find_data(tmp_path / "x")
    with pytest.raises(InputError, match="cannot be reached"):
        check_writable(str(tmp_path / "x"))


def test_results_stay_out_of_the_base_model(tmp_path: Path) -> None:
    base = make_model(tmp_path / "runs" / "base")
    (tmp_path / "link").symlink_to(base)
    for folder in (base, base / "out", tmp_path / "link" / "out"):
        with pytest.raises(InputError, match=r"in the base model's own folder(.|\n)*outside"):
            check_apart(str(folder), str(base), "target_path", replaced=False)
    check_apart(str(tmp_path / "runs"), str(base), "target_path", replaced=False)
    with pytest.raises(InputError, match="would be replaced"):
        check_apart(str(tmp_path / "runs"), str(base), "merge_path", replaced=True)


def test_keywords_update_the_defaults_in_either_spelling() -> None:
    defaults = {"lora_r": 8, "max-model-len": 10}
    assert merge_keywords("x", defaults, {"lora-r": 4, "max_model_len": 20}) == {"lora_r": 4, "max-model-len": 20}
    assert defaults == {"lora_r": 8, "max-model-len": 10}
    with pytest.raises(InputError, match=r"finetune\.x has no keyword 'lora_rr'\. Did you mean 'lora_r'\?"):
        merge_keywords("finetune.x", defaults, {"lora_rr": 4})
    with pytest.raises(InputError, match=r"given 'lora-r' twice, as 'lora_r' too"):
        merge_keywords("x", defaults, {"lora_r": 4, "lora-r": 4})
