"""What the quick start makes of data of one's own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "examples/quickstart.py"
CALL = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}


@pytest.fixture(scope="module")
def quickstart() -> Any:
    spec = importlib.util.spec_from_file_location("quickstart", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def told(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


@pytest.mark.parametrize(
    "chat, asked, answer",
    [
        ([user("Q"), told("A")], 1, "A"),
        ([user("Q"), told("A"), user("thanks!")], 1, "A"),
        ([user("Q"), told("A"), user("And?"), told("B")], 3, "B"),
        ([user("Q"), told("A"), user("And?"), CALL], 1, "A"),
    ],
)
def test_the_answer_of_a_chat_is_the_last_that_the_assistant_wrote(
    quickstart: Any, chat: list[dict[str, Any]], asked: int, answer: str
) -> None:
    assert quickstart.question_of({"messages": chat}) == ({"messages": chat[:asked]}, answer)


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [user("Q"), CALL]},
        {"messages": [user("Q"), {key: CALL[key] for key in ("role", "tool_calls")}]},
        {"messages": [told("Hello!"), user("Q")]},
        {"messages": [user("Q"), told("")]},
        {"messages": [user("Q"), CALL, {"role": "tool", "content": "18"}, told("A")]},
        {"messages": [user("Q"), told("A")], "tools": [{"type": "function", "function": {"name": "f"}}]},
        {"instruction": "Q", "input": "a text", "output": "A"},
    ],
)
def test_examples_that_cannot_be_asked_as_they_stand_are_left_out(quickstart: Any, row: dict[str, Any]) -> None:
    assert quickstart.question_of(row) is None


@pytest.mark.parametrize("answers", [["A"], ["A", "A"], ["A", "B"], list("ABCDE"), list("AABBC"), list("ABCDEF")])
def test_the_tiny_model_learns_wrong_answers_only(quickstart: Any, answers: list[str]) -> None:
    wrong = quickstart.wrong_answers(answers)
    assert len(wrong) == len(answers) and not any(a == b for a, b in zip(answers, wrong, strict=True))


@pytest.mark.engine
def test_the_quick_start_with_few_examples_that_all_have_an_input(tmp_path: Path, lazyllm_home: Path) -> None:
    rows = [
        {"instruction": "Name the capital.", "input": land, "output": f"{land} it is."} for land in ("Oslo", "Rome")
    ]
    (tmp_path / "data.json").write_text(json.dumps(rows), "utf-8")
    argv = [sys.executable, str(SCRIPT), "--data", "data.json", "--out", "out"]
    env = {**os.environ, "LAZYLLM_HOME": str(lazyllm_home)}

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*argv, *more], env=env, capture_output=True, text=True, timeout=240, cwd=tmp_path)

    done = run("--question", "Name a capital.", "--keywords", '{"num_epochs": 2}')
    assert done.returncode == 0, done.stderr
    assert "  after  " in done.stdout and "of the first 0" not in done.stdout
    refused = run()
    assert refused.returncode == 1 and "give --question" in refused.stderr
