"""The documentation's examples run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import lazyllm

DOCS = Path(__file__).parents[1] / "docs"


def examples(page: str) -> str:
    """Return the Python examples of a page as one program."""
    return "\n\n".join(re.findall(r"```python\n(.*?)```", (DOCS / page).read_text("utf-8"), re.S))


@pytest.fixture
def model_folder(tmp_path: Path) -> str:
    folder = tmp_path / "model"
    folder.mkdir()
    for name, text in (("config.json", "{}"), ("model.safetensors", ""), ("tokenizer.json", "")):
        (folder / name).write_text(text)
    return str(folder)


def test_the_examples_for_plugin_authors(model_folder: str, tmp_path: Path) -> None:
    from lazyllm.registry import find_group

    code = examples("plugins.md").replace("lazyllm.deploy.mine", "lazyllm.deploy.my")
    written: dict[str, Any] = {"__name__": __name__, "lazyllm": lazyllm}
    exec(compile(code, "plugins.md", "exec"), written)
    written["test_the_command"](model_folder)
    assert lazyllm.mygroup.double()(21) == 42
    (tmp_path / "train.json").write_text("[]")
    trainer = find_group("finetune").my(model_folder, str(tmp_path / "out"), num_epochs=2)
    assert trainer.cmd(str(tmp_path / "train.json")).show().endswith("lazyllm_merge 2")
    prompt = written["MyPrompter"]("Be brief, {name}.").generate_prompt({"name": "Ann", "input": "hi"})
    assert "Be brief, Ann." in prompt and prompt.endswith("hi\nAnswer:")
    assert written["FirstLine"]()("a\nb") == "a"
    assert "<port>" in written["OldDeploy"]().cmd(model_folder).show()


def test_every_hook_is_shown_to_authors() -> None:
    from lazyllm import hookspecs

    for name in (n for n in vars(hookspecs) if n.startswith("lazyllm_")):
        assert name in (DOCS / "plugins.md").read_text("utf-8")
        assert vars(hookspecs)[name].__doc__


def test_every_command_stands_in_the_readme() -> None:
    from lazyllm.registry.entries import entries

    told = (DOCS.parent / "README.md").read_text("utf-8") + (DOCS / "jobs.md").read_text("utf-8")
    for command in entries("commands"):
        assert re.search(rf"(lazyllm |`){command}\b", told), command
