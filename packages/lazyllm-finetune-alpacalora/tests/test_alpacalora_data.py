"""Reading and checking data, without any heavy module."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lazyllm.errors import DataError
from lazyllm_finetune_alpacalora.data import read, survey

GOOD = {"instruction": "Say hi.", "output": "hi"}
CHAT = {"messages": [{"role": "user", "content": "Say hi."}, {"role": "assistant", "content": "hi"}]}


def put(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_a_list_lines_and_a_folder_give_the_same_records(tmp_path: Path) -> None:
    list_file = put(tmp_path, "d/a.json", "\n" + json.dumps([GOOD, GOOD], indent=1))
    lines = put(tmp_path, "d/sub/b.jsonl", f"{json.dumps(GOOD)}\n\n{json.dumps(GOOD)}\n")
    lines_named_json = put(tmp_path, "c.json", f"{json.dumps(GOOD)}\n{json.dumps(GOOD)}\n")
    for file in (list_file, lines, lines_named_json):
        assert list(read(file)) == [GOOD, GOOD]
    found = survey(tmp_path / "d")
    assert (found.count, found.kind, found.files) == (4, "alpaca", (list_file, lines))


def test_a_byte_order_mark_is_no_part_of_the_data(tmp_path: Path) -> None:
    file = tmp_path / "bom.json"
    file.write_text(json.dumps([GOOD]), encoding="utf-8-sig")
    assert list(read(file)) == [GOOD]


def test_messages_are_their_own_kind(tmp_path: Path) -> None:
    assert survey(put(tmp_path, "c.jsonl", json.dumps(CHAT))).kind == "messages"


@pytest.mark.parametrize(
    ("name", "text", "parts"),
    [
        ("a.json", "", ["empty"]),
        ("a.jsonl", "\n\n", ["empty"]),
        ("a.json", "[]", ["empty"]),
        ("a.json", '[\n{"instruction": "x",\n "output" "y"}]', ["line 3", "column 11"]),
        ("a.jsonl", f"{json.dumps(GOOD)}\n{{oops}}\n", ["line 2", "column 2"]),
        ("a.json", '{\n"data": []}', ["expected a list"]),
        (
            "a.json",
            json.dumps([GOOD, {"instruction": "x", "respnse": "y", "outptu": "z"}]),
            ["record 2", "'output'", "outptu"],
        ),
        (
            "a.json",
            json.dumps([GOOD, {"instrution": "x", "output": "y"}]),
            ["its keys are: instrution, output. Is 'instrution' meant to be 'instruction'?"],
        ),
        ("a.json", json.dumps([{"prompt": "x", "ouput": "y"}]), ["Is 'ouput' meant to be 'output'?"]),
        ("a.jsonl", json.dumps({"prompt": "x", "completion": "y"}), ["line 1", "'instruction' and 'output'", "prompt"]),
        ("a.json", json.dumps([{"instruction": "x", "output": 3}]), ["'output' must be text", "a number"]),
        ("a.json", json.dumps([{"instruction": " ", "output": "x"}]), ["empty instruction"]),
        ("a.json", json.dumps(["x"]), ["record 1 is text"]),
        ("a.json", json.dumps([GOOD, CHAT]), ["record 2", "record 1", "one kind"]),
        ("a.json", json.dumps([GOOD | CHAT]), ["both"]),
        ("a.json", json.dumps([{"messages": []}]), ["'messages' must be a list"]),
        ("a.json", json.dumps([{"messages": [{"role": "assistent", "content": "x"}]}]), ["message 1", "'assistant'"]),
        ("a.json", json.dumps([{"messages": [{"role": "user", "content": "x"}]}]), ["no assistant"]),
        ("a.json", json.dumps([{"messages": [{"role": "user", "text": "x"}]}]), ["'content'", "text"]),
        ("a.json", json.dumps([{**CHAT, "tools": "[]"}]), ["record 1", "'tools' must be a list"]),
        ("a.json", '[{"instruction": "a\\ud800", "output": "b"}]', ["record 1", "half a character", "position 1"]),
        ("a.json", "null", ["holds null; expected a list"]),
        ("a.json", f'[{{"instruction": "a", "output": {"9" * 5000}}}]', ["line 1", "digits"]),
        ("a.json", "[" * 100_000, ["nested too deeply"]),
        ("a.jsonl", json.dumps(GOOD, indent=1), ["line 1", "one record a line"]),
        ("a.jsonl", f"{json.dumps(GOOD)}\n[1]\n", ["line 2 is a list"]),
        ("a.jsonl", json.dumps([GOOD, GOOD]), ["line 1 is a list", "one record a line", ".json file"]),
        ("a.json", f"{json.dumps(GOOD)}\r{{oops}}\r", ["line 2", "column 2"]),
        ("a.json", '[\r{"instruction": "x",\r "output" "y"}]', ["line 3", "column 11"]),
    ],
)
def test_bad_data_is_refused_with_its_place(tmp_path: Path, name: str, text: str, parts: list[str]) -> None:
    file = put(tmp_path, name, text)
    with pytest.raises(DataError) as error:
        list(read(file))
    for part in [str(file), *parts]:
        assert part in str(error.value)


def test_a_missing_file_names_its_nearest_neighbour(tmp_path: Path) -> None:
    put(tmp_path, "train.json", json.dumps([GOOD]))
    with pytest.raises(DataError, match=r"trian\.json.*Did you mean 'train\.json'"):
        list(read(tmp_path / "trian.json"))


@pytest.mark.parametrize("name", ["x.jsonl", "x.json"])
def test_bytes_that_are_no_text_are_refused_with_their_line(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    lines = [json.dumps(GOOD).encode(), '{"instruction": "é", "output": ""}'.encode("latin-1")]
    file.write_bytes(b"\n".join(lines) if name == "x.jsonl" else b"[" + b",\n".join(lines) + b"]")
    with pytest.raises(DataError, match=r"not UTF-8 text: line 2 has the byte 0xe9(.|\n)*iconv"):
        list(read(file))


def test_line_ends_of_every_system(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    odd = {"instruction": "a\u2028b", "output": "c\x85d"}
    file.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(json.dumps(r, ensure_ascii=False).encode() for r in (GOOD, odd)))
    assert list(read(file)) == [GOOD, odd]
    for name, mark in (("old.jsonl", b""), ("old.json", b"\xef\xbb\xbf\r")):
        (tmp_path / name).write_bytes(mark + b"\r".join(json.dumps(r).encode() for r in (GOOD, odd)) + b"\r")
        assert list(read(tmp_path / name)) == [GOOD, odd]


def test_a_folders_hidden_files_are_left_out(tmp_path: Path) -> None:
    put(tmp_path, "a.JSON", json.dumps([GOOD]))
    put(tmp_path, ".ipynb_checkpoints/a-checkpoint.json", json.dumps([GOOD]))
    put(tmp_path, ".b.jsonl", "{")
    assert list(read(tmp_path)) == [GOOD]


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "x.json")
    with pytest.raises(DataError, match="no regular file"):
        list(read(tmp_path / "x.json"))


def test_lines_are_checked_in_linear_time(tmp_path: Path) -> None:
    import time

    def seconds(count: int) -> float:
        file = put(tmp_path, f"{count}.jsonl", (json.dumps(GOOD) + "\n") * count)
        start = time.process_time()
        assert survey(file).count == count
        return time.process_time() - start

    seconds(1000)
    assert seconds(40_000) < 40 * max(seconds(5_000), 0.005)  # eight times as much; squared, 64
