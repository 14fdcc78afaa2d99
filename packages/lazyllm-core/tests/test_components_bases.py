"""What every trainer and every engine has from its base class."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lazyllm.common.log import LOG
from lazyllm.components import LazyLLMDeployBase, LazyLLMFinetuneBase
from lazyllm.components.core import component_register
from lazyllm.components.paths import placed_below_root
from lazyllm.errors import InputError, JobError, ModelError
from lazyllm.jobs.command import Command, Ref, Step
from lazyllm.registry import find_group


class PaperFinetune(LazyLLMFinetuneBase):
    """Copies its data to the merged folder."""

    defaults = {"num_epochs": 1, "max-steps": None}

    def cmd(self, trainset: Any, valset: Any = None) -> Command:
        code = "import os, shutil, sys; os.makedirs(sys.argv[2]); shutil.copy(sys.argv[1], sys.argv[2])"
        argv = (sys.executable, "-I", "-S", "-c", code, str(trainset), self.merge_path)
        return Command((Step(argv, "train"),), result=self.merge_path)


class PaperDeploy(LazyLLMDeployBase):
    defaults = {"port": None}

    def cmd(self, finetuned_model: Any = None, base_model: Any = None) -> Command:
        return Command((Step(("serve", self.find_model(finetuned_model, base_model))),))


def make_model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").touch()
    (folder / "tokenizer.json").touch()
    return folder


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_model(tmp_path / "base")


@pytest.fixture
def warnings() -> Any:
    heard: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    LOG.addHandler(handler)
    yield heard
    LOG.removeHandler(handler)


def test_representations(base: Path, tmp_path: Path) -> None:
    assert repr(PaperFinetune(base, tmp_path / "out")) == "<lazyllm.llm.finetune type=PaperFinetune>"
    assert repr(PaperDeploy()) == "<lazyllm.llm.deploy type=PaperDeploy>"


def test_what_a_trainer_keeps(base: Path, tmp_path: Path) -> None:
    trainer = PaperFinetune(base, tmp_path / "out", **{"num-epochs": 3})
    assert trainer.kw == {"num_epochs": 3, "max-steps": None}
    assert trainer.defatult_kw == {"num_epochs": 1, "max-steps": None}
    assert trainer.given == {"num_epochs"}
    assert trainer.base_model == str(base)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match=r"finetune\.paper has no keyword 'num_epoch'\. Did you mean 'num_epochs'\?"):
        PaperFinetune(base, tmp_path / "out", num_epoch=3)
    with pytest.raises(InputError, match=r"no keyword 'lauchner'\. Did you mean 'launcher'\?"):
        PaperFinetune(base, tmp_path / "out", lauchner="empty")


def test_the_folders_of_a_training(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plain = PaperFinetune(base, "out")
    assert (plain.root, plain.target_path) == (str(tmp_path / "out"), str(tmp_path / "out" / "lazyllm_lora"))
    assert plain.merge_path == str(tmp_path / "out" / "lazyllm_merge")
    monkeypatch.setenv("LAZYLLM_TRAIN_TARGET_ROOT", str(tmp_path / "runs"))
    assert PaperFinetune(base, "a/b").merge_path == str(tmp_path / "runs" / "a" / "b" / "lazyllm_merge")
    assert placed_below_root("/else/where") == "/else/where"
    own = PaperFinetune(base, "out", "merged")
    assert (own.root, own.target_path, own.merge_path) == (str(tmp_path / "out"),) * 2 + (str(tmp_path / "merged"),)


@pytest.mark.parametrize(
    ("target", "merge", "message"),
    [
        (None, None, "target_path is given by a path, not by None"),
        ("", None, "target_path is given by a path, not by ''"),
        ("out", 3, "merge_path is given by a path, not by 3"),
        ("out", "", "merge_path is given by a path, not by ''"),
        ("out", "out", "are one folder"),
        ("m/out", "m", "holds target_path"),
        ("base", None, "base model's own folder"),
        ("base/out", None, "base model's own folder"),
        ("out", "base", "base model's own folder"),
        ("out", "base/m", "base model's own folder"),
        ("base/config.json", None, "base model's own folder"),
        ("file", None, "is not a folder"),
    ],
)
def test_folders_that_cannot_be_trained_into(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: Any, merge: Any, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=message):
        PaperFinetune(base, target, merge)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["base", "file"]


def test_a_merged_model_cannot_be_trained_into_its_own_place(tmp_path: Path) -> None:
    merged = make_model(tmp_path / "out" / "lazyllm_merge")
    with pytest.raises(InputError, match="base model's own folder"):
        PaperFinetune(merged, tmp_path / "out")
    assert PaperFinetune(merged, tmp_path / "next").base_model == str(merged)


def test_a_training_gives_the_merged_folder(base: Path, tmp_path: Path) -> None:
    data = tmp_path / "d"
    data.write_text("learnt")
    trainer = PaperFinetune(base, tmp_path / "out", launcher="empty")
    assert trainer(data) == str(tmp_path / "out" / "lazyllm_merge")
    assert (tmp_path / "out" / "lazyllm_merge" / "d").read_text() == "learnt"
    job = PaperFinetune(base, tmp_path / "two", launcher="empty").start(data)
    assert job.wait().name == "Done"
    with pytest.raises(JobError, match="step 'train' failed"):
        PaperFinetune(base, tmp_path / "three", launcher="empty")(tmp_path / "nothing")


def test_a_trainer_without_a_command_says_so(base: Path, tmp_path: Path) -> None:
    class _Bare(LazyLLMFinetuneBase):
        pass

    with pytest.raises(NotImplementedError, match="_Bare does not implement cmd"):
        LazyLLMFinetuneBase.cmd(object.__new__(_Bare), "x")


def test_an_engine_serves_the_merged_model(base: Path, tmp_path: Path) -> None:
    merged = make_model(tmp_path / "out" / "lazyllm_merge")
    engine = PaperDeploy()
    assert engine.find_model(tmp_path / "out", base) == str(merged)
    assert engine.find_model(merged, base) == str(merged)
    assert engine.find_model(None, tmp_path / "out") == str(merged)
    assert engine.find_model(None, base) == str(base)
    assert engine.find_model(base, None) == str(base)


def test_an_engine_looks_where_a_trainer_puts(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAZYLLM_TRAIN_TARGET_ROOT", str(tmp_path / "runs"))
    merged = make_model(Path(PaperFinetune(base, "mine").merge_path))
    assert PaperDeploy().find_model("mine", None) == str(merged)
    (merged / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="has no tokenizer"):
        PaperDeploy().find_model("mine", None)
    for wrong in ("", 123):
        with pytest.raises(ModelError, match="given by a path"):
            PaperDeploy().find_model(wrong, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [list, " ".join])
def test_functions_may_give_commands_in_short(base: Path, tmp_path: Path, kind: Any) -> None:
    for group in ("deploy", "finetune"):
        name = f"short{group}{kind.__name__}"
        component_register.cmd(group, func_name=name)(lambda *_: kind(["echo", "hi"]))
        made = getattr(find_group(group), name)
        component = made() if group == "deploy" else made(base, tmp_path / "out")
        assert "hi" in component.makejob("data").command.show()


def test_an_engine_that_serves_nothing_is_refused_before_it_starts(base: Path) -> None:
    class _Mute(LazyLLMDeployBase):
        def cmd(self, finetuned_model: Any = None, base_model: Any = None) -> Any:
            return ["sleep", "60"]

    engine = _Mute()
    with pytest.raises(InputError, match="made a command that serves nothing"):
        engine(base)
    assert engine.job is not None and engine.job.record is None


def test_a_reference_of_no_kind_is_refused() -> None:
    with pytest.raises(InputError, match="expected 'port', 'host' or 'file'"):
        Command((Step(("true", Ref("prot", "port"))),))  # type: ignore[arg-type]


def test_an_engine_falls_back_to_the_base_model_and_says_so(base: Path, tmp_path: Path, warnings: list[str]) -> None:
    engine = PaperDeploy()
    assert engine.find_model(tmp_path / "none", base) == str(base)
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_model.safetensors").touch()
    assert engine.find_model(tmp_path / "adapter", base) == str(base)
    assert warnings == [
        f"{tmp_path / name} holds no model with weights to serve; serving {base} instead."
        for name in ("none", "adapter")
    ]
    with pytest.raises(ModelError, match="No model to serve"):
        engine.find_model(None, None)
    with pytest.raises(ModelError, match="no folder here"):
        engine.find_model(tmp_path / "none", None)


def test_an_empty_name_is_no_model(base: Path) -> None:
    engine = PaperDeploy()
    assert engine.find_model("", base) == str(base)
    with pytest.raises(ModelError, match="given by a path"):
        engine.find_model("", None)
    for wrong in ({"stream": "x"}, {"log_path": 5}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            PaperDeploy(**wrong)  # type: ignore[arg-type]


def test_a_short_name_is_an_engines_model_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model(tmp_path / "models" / "tiny")
    monkeypatch.setenv("LAZYLLM_MODEL_PATH", str(tmp_path / "models"))
    assert PaperDeploy().find_model(None, "tiny") == str(model)
    assert PaperDeploy().find_model("tiny", None) == str(model)


def test_what_an_engine_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = PaperDeploy(port=1234, stream=True)
    assert (engine.kw, engine.stream, engine.trust_remote_code) == ({"port": 1234}, True, False)
    monkeypatch.setenv("LAZYLLM_TRUST_REMOTE_CODE", "1")
    assert PaperDeploy().trust_remote_code is True
    assert PaperDeploy(trust_remote_code=False).trust_remote_code is False
    for wrong in ("False", "no", 0):
        with pytest.raises(InputError, match="trust_remote_code is True, False or None"):
            PaperDeploy(trust_remote_code=wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"deploy\.paper has no keyword 'prot'\. Did you mean 'port'\?"):
        PaperDeploy(prot=1)


def test_an_engines_log_and_url(tmp_path: Path) -> None:
    assert PaperDeploy().log_file() is None
    log = Path(str(PaperDeploy(log_path=tmp_path).log_file()))
    assert log.parent == tmp_path / "paperdeploy"
    assert log.name.startswith("paperdeploy_2")
    assert not log.parent.exists()
    engine = PaperDeploy()
    with pytest.raises(InputError, match="has started no server yet"):
        engine.geturl()
    assert engine.geturl(SimpleNamespace(url="http://127.0.0.1:1/v1")) == "http://127.0.0.1:1/v1"  # type: ignore[arg-type]
