"""The command line: help that teaches, errors in words, output for programs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lazyllm.cli import run
from lazyllm.cli.deploy import deploy
from lazyllm.cli.keywords import parse
from lazyllm.components import LazyLLMDeployBase, LazyLLMFinetuneBase
from lazyllm.errors import InputError
from lazyllm.jobs.command import Command, Ref, Service, Step
from lazyllm.jobs.job import Job
from lazyllm.jobs.launcher import LazyLLMLaunchersBase


class ToyFinetune(LazyLLMFinetuneBase):
    defaults = {"lora_r": 8, "rate": 1e-3, "packed": False, "modules": None}

    def cmd(self, trainset: Any = None, valset: Any = None) -> Command:
        argv = ("toy-train", self.base_model, str(trainset), str(self.kw["lora_r"]))
        files = {"how.json": '{"epochs": 3}'}
        return Command((Step(argv, "train"),), secrets={"TOKEN": "hush"}, files=files, result=self.merge_path)


class ToyDeploy(LazyLLMDeployBase):
    defaults = {"port": None}

    def cmd(self, finetuned_model: Any = None, base_model: Any = None) -> Command:
        argv = ("toy-serve", self.find_model(finetuned_model, base_model), Ref("host"), Ref("port", "port"))
        return Command((Step(argv, "serve"),), ports={"port": self.kw["port"]}, service=Service())


class QueuedLauncher(LazyLLMLaunchersBase):
    def submit(self, job: Job) -> str:
        raise AssertionError("a dry run starts nothing")

    def submission(self, job: Job) -> str:
        return f"queue {job.runner_argv()[-1]}"

    def query(self, job: Any) -> None:
        return None

    def cancel(self, job: Job, force: bool = False) -> None:
        pass


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A folder with all files of a model, empty ones."""
    folder = tmp_path / "a model; $(x)"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").touch()
    (folder / "tokenizer.json").touch()
    return str(folder)


@pytest.mark.parametrize("command", ["finetune", "deploy", "chat", "ps", "logs", "stop", "reap", "plugins", "config"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"Usage: lazyllm {command}" in shown and "Examples:\n" in shown and f"\n    lazyllm {command} " in shown


def test_a_detached_command_says_when_it_returns(capsys: pytest.CaptureFixture[str]) -> None:
    for command, when in (("deploy", "once the server answers"), ("finetune", "once the job has started")):
        assert run([command, "--help"]) == 0
        assert f"Return {when}; the job lives on" in " ".join(capsys.readouterr().out.split())


def test_the_module_is_the_command() -> None:
    found = subprocess.run([sys.executable, "-m", "lazyllm", "--version"], capture_output=True, text=True, check=True)
    assert found.stdout.startswith("lazyllm, version ")


def test_unknown_commands_name_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["finetun"]) == 2
    assert "Did you mean 'finetune'?" in capsys.readouterr().err


def test_a_dry_run_shows_the_command_and_starts_nothing(
    model: str,
    tmp_path: Path,
    lazyllm_home: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = str(tmp_path / "out")
    args = ["finetune", model, "--method", "toy", "--data", "d a.json", "--out", out, "--lora-r", "16", "--dry-run"]
    assert run(args) == 0
    told = capfd.readouterr().out
    assert f"toy-train '{model}' 'd a.json' 16" in told and '<how.json>:\n{"epochs": 3}' in told
    assert "hush" not in told
    assert run(["deploy", model, "--engine", "toy", "--dry-run"]) == 0
    assert capfd.readouterr().out == f"toy-serve '{model}' <host> <port>\n"
    assert run(["deploy", model, "--engine", "toy", "--dry-run", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["argv"] == [["toy-serve", model, "<host>", "<port>"]]
    assert run(["deploy", model, "--engine", "toy", "--port", "21000", "--dry-run"]) == 0
    assert capfd.readouterr().out == f"toy-serve '{model}' <host> 21000\n"
    args = ["deploy", model, "--engine", "toy", "--launcher", "queued", "--dry-run"]
    assert run(args) == 0
    handed = f"submitted to launchers.queued by:\nqueue {lazyllm_home}/jobs/JOB"
    assert capfd.readouterr().out == f"toy-serve '{model}' <host> <port>\n\n{handed}\n"
    assert run([*args, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["submission"] == f"queue {lazyllm_home}/jobs/JOB"
    monkeypatch.setenv("LAZYLLM_MODE", "display")
    assert run(["deploy", model, "--engine", "toy"]) == 0
    assert capfd.readouterr().out == f"toy-serve '{model}' <host> <port>\n"
    assert not (lazyllm_home / "jobs").exists() and not Path(out).exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--lora-rr", "1"], "no option --lora-rr. Did you mean 'lora_r'?"),
        (["--lanucher", "x"], "Did you mean 'launcher'?"),
        (["--lora-r", "many"], "--lora-r 'many' is no whole number"),
        (["--rate", "fast"], "--rate 'fast' is no number"),
        (["--packed=maybe"], "neither true nor false"),
        (["--lora-r"], "--lora-r needs a value"),
        (["second"], "takes one BASE, the folder of the model: unexpected 'second'"),
    ],
)
def test_bad_options_are_refused(
    model: str, tmp_path: Path, more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["finetune", model, "--method", "toy", "--data", "d", "--out", str(tmp_path / "o"), "--dry-run", *more]
    assert run(args) == 2
    assert said in capsys.readouterr().err


def test_options_before_the_model(model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    args = [
        "finetune",
        "--packed",
        "--lora-r=3",
        "--method",
        "toy",
        model,
        "--data",
        "d",
        "--out",
        str(tmp_path / "o"),
        "--dry-run",
    ]
    assert run(args) == 0
    assert "d 3" in "".join(capfd.readouterr())


def test_nothing_installed_is_answered_with_a_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from lazyllm.registry import entries

    real = entries.all_entries()
    monkeypatch.setattr(entries, "all_entries", lambda: {"commands": real["commands"]})
    monkeypatch.setattr("lazyllm.registry.group._groups", {})
    assert run(["deploy", "model"]) == 2
    assert "pip install lazyllm-deploy-transformers" in capsys.readouterr().err


def test_errors_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["deploy", "/no/such/model", "--engine", "toy", "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["type"] == "ModelError" and "/no/such/model" in told["error"]


def test_usage_errors_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    for args in (["chat", "--json"], ["finetune", "--json", "--method", "toy", "base"], ["ps", "--jsn", "--json"]):
        assert run(args) == 2
        assert json.loads(capsys.readouterr().out)["type"] in ("InputError", "ModelError")


@pytest.mark.parametrize(
    "option, value",
    [
        (["--trust-remote-code", "False"], False),
        (["--log-path", "2024"], "2024"),
        (["--host", "1e3"], "1e3"),
        (["--port", "21000"], 21000),
        (["--free", "[1, 2]"], [1, 2]),
        (["--free", "text"], "text"),
    ],
)
def test_options_get_their_types(option: list[str], value: Any) -> None:
    class _TypedDeploy(LazyLLMDeployBase):
        defaults = {"port": None, "host": None, "free": None}

    positional, found = parse(_TypedDeploy, [*option, "DIR"], deploy)
    assert positional == ["DIR"] and list(found.values()) == [value]
    with pytest.raises(InputError, match="'x' is no whole number"):
        parse(_TypedDeploy, ["--port", "x"], deploy)


def test_types_are_added_to_the_bases() -> None:
    class _MoreDeploy(LazyLLMDeployBase):
        defaults = {"port": None, "served": None}
        types = {"served": str}

    assert parse(_MoreDeploy, ["--served", "123", "--port", "123", "DIR"], deploy)[1] == {"served": "123", "port": 123}


def test_a_flag_swallows_no_model() -> None:
    for args in (["--trust-remote-code", "DIR"], ["DIR", "--trust-remote-code"]):
        assert parse(ToyDeploy, args, deploy) == (["DIR"], {"trust_remote_code": True})


def test_keywords_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["finetune", "--method", "toy", "--keywords", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"merge_path": None, **ToyFinetune.defaults}


def test_a_secret_that_is_not_set_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "api_key", "--json"]) == 0 and json.loads(capsys.readouterr().out)["value"] == ""


def test_data_may_be_the_trainers_own_option(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class DatafulFinetune(LazyLLMFinetuneBase):
        defaults = {"data_path": None}

        def cmd(self, trainset: Any = None, valset: Any = None) -> Command:
            return Command((Step(("train", str(self.kw["data_path"])), "train"),), result=self.merge_path)

    args = ["finetune", model, "--method", "dataful", "--data-path", "my.json", "--out", str(tmp_path / "o")]
    assert run([*args, "--dry-run"]) == 0 and "train my.json" in capsys.readouterr().out
    assert run([*args, "--data", "other.json", "--dry-run"]) == 2
    assert "--data other.json and --data-path my.json are one option" in capsys.readouterr().err


def test_config_shows_sources(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LAZYLLM_API_KEY", "sk-secret")
    monkeypatch.setenv("LAZYLLM_DATA_PATH", "/data")
    assert run(["config", "--json"]) == 0
    rows = {row["key"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["data_path"]["source"] == "environment LAZYLLM_DATA_PATH"
    assert rows["mode"]["source"] == "default"
    assert run(["config"]) == 0
    assert "sk-secret" not in capsys.readouterr().out


def test_plugins_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plugins", "--json"]) == 0
    found = {plugin["distribution"]: plugin for plugin in json.loads(capsys.readouterr().out)}
    core = found["lazyllm-core"]
    assert "formatters.json" in core["components"] and "finetune" in core["commands"] and not core["faults"]


def test_chat_answers_one_question(double: Any, sse: Any, capsys: pytest.CaptureFixture[str]) -> None:
    double.answers["/v1/chat/completions"] = sse(
        {"choices": [{"delta": {"content": "Par"}}]}, {"choices": [{"delta": {"content": "is"}}]}
    )
    assert run(["chat", double.url, "capital", "of", "France?", "--system", "Be brief.", "--max-tokens", "9"]) == 0
    assert capsys.readouterr().out == "Paris\n"
    (body,) = double.requests("/v1/chat/completions")
    assert [m["content"] for m in body["messages"]] == ["Be brief.", "capital of France?"]
    assert body["max_tokens"] == 9
    assert run(["chat", double.url, "again", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"answer": "Paris"}


def test_ps_and_stop_without_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ps", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert run(["stop"]) == 2
    assert run(["stop", "nothing"]) == 2
    assert "There is no job 'nothing'" in capsys.readouterr().err


def test_a_terminal_gets_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    from lazyllm.jobs import recording
    from lazyllm.jobs.status import Status

    name, reason = "a\x1b]0;t\x07b", "first\n  \x1b[2Jsecond \u202e"
    new = recording.create(Command.of(["true"]), name=name, launcher="x\x1b", env={}, detached=True, owner=None)
    new.finish(Status.Failed, reason)
    assert run(["ps", "--all"]) == 0
    (_, line) = capsys.readouterr().out.splitlines()
    assert line.isprintable() and line.endswith("x?     a?]0;t?b  first ?[2Jsecond ?")
    assert run(["stop", new.id]) == 0
    assert capsys.readouterr().out == f"{new.id}  Failed  first ?[2Jsecond ?\n"
    assert run(["ps", "--all", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["name"], told["reason"]) == (name, reason)


def test_the_historic_package_is_noticed(
    monkeypatch: pytest.MonkeyPatch, lazyllm_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from importlib import metadata

    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "1.4.0" if name == "lazyllm" else real(name))
    (lazyllm_home / "config.json").write_text("{}")
    assert run(["config", "mode"]) == 0
    told = capsys.readouterr().err
    assert "lazyllm 1.4.0 is installed in this environment too" in told
    assert f"{lazyllm_home / 'config.json'} belongs to the historic package" in told


def test_a_full_or_closed_output_is_told_in_a_line() -> None:
    shell = ["bash", "-c", f"{sys.executable} -m lazyllm config > /dev/full"]
    full = subprocess.run(shell, capture_output=True, text=True, check=False)
    assert (full.returncode, full.stderr) == (1, "error: the output cannot be written: No space left on device\n")
    shell = ["bash", "-c", f"set -o pipefail; {sys.executable} -m lazyllm config | true"]
    assert subprocess.run(shell, capture_output=True, text=True, check=False).stderr == ""


def test_chat_without_stdin_or_with_bytes_that_are_no_text() -> None:
    ask = [sys.executable, "-m", "lazyllm", "chat", "127.0.0.1:9/v1"]
    shell = ["bash", "-c", 'exec "$@" <&-', "x", *ask]
    closed = subprocess.run(shell, capture_output=True, text=True, check=False)
    assert closed.returncode == 2 and "There is no question" in closed.stderr
    bad = subprocess.run(ask, input=b"\xff\xfe", capture_output=True, check=False)
    assert bad.returncode == 2 and b"What stdin holds is no UTF-8 text" in bad.stderr


def test_what_is_neither_true_nor_false(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["finetune", model, "--method", "toy", "--data", "d", "--out", str(tmp_path / "o"), "--dry-run"]
    assert run([*args, "--packed", "maybe"]) == 2
    assert "--packed 'maybe' is neither true nor false" in capsys.readouterr().err
