"""Settings: their sources, their types, and what is refused."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lazyllm.common.log import LOG
from lazyllm.configs import Config, Key, Mode
from lazyllm.errors import ConfigError


@pytest.fixture
def config() -> Config:
    return Config()


def test_sources_from_lowest_to_highest(config: Config, lazyllm_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (config["data_path"], config.setting("data_path").source) == ("", "default")
    (lazyllm_home / "config.toml").write_text('data_path = "/from/file"\n')
    assert config["data_path"] == "/from/file"
    assert config.setting("data_path").source == f"file {lazyllm_home / 'config.toml'}"
    monkeypatch.setenv("LAZYLLM_DATA_PATH", "/from/env")
    assert (config["data_path"], config.setting("data_path").source) == ("/from/env", "environment LAZYLLM_DATA_PATH")
    config["data_path"] = "/from/code"
    assert (config["data_path"], config.setting("data_path").source) == ("/from/code", "code")
    del config["data_path"]
    assert config["data_path"] == "/from/env"


def test_the_file_is_read_again_when_it_changes(config: Config, lazyllm_home: Path) -> None:
    file = lazyllm_home / "config.toml"
    file.write_text('partition = "a"\n')
    assert config["partition"] == "a"
    file.write_text('partition = "longer"\n')
    assert config["partition"] == "longer"


@pytest.mark.parametrize("variable", ["LAZYLLM_DEFAULT_LAUNCHER", "LAZYLLM_DEAULT_LAUNCHER"])
def test_historic_variables_are_read(config: Config, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "slurm")
    assert config["launcher"] == "slurm"


def test_an_empty_variable_is_none_where_a_value_is_needed(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAZYLLM_DEFAULT_LAUNCHER", "")
    monkeypatch.setenv("LAZYLLM_DEAULT_LAUNCHER", "psij")
    monkeypatch.setenv("LAZYLLM_MODEL_PATH", "")
    assert config["launcher"] == "psij"
    assert (config["model_path"], config.setting("model_path").source) == ("", "environment LAZYLLM_MODEL_PATH")


def test_the_preferred_variable_wins(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAZYLLM_DEAULT_LAUNCHER", "sco")
    monkeypatch.setenv("LAZYLLM_DEFAULT_LAUNCHER", "slurm")
    assert config["launcher"] == "slurm"


@pytest.mark.parametrize(("text", "value"), [("1", True), ("TRUE", True), ("off", False), ("no", False)])
def test_booleans(config: Config, text: str, value: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAZYLLM_TRUST_REMOTE_CODE", text)
    assert config["trust_remote_code"] is value


def test_mode_is_a_name_and_an_enum(config: Config) -> None:
    config["mode"] = "Display"
    assert config["mode"] is Mode.Display
    assert config["mode"] == "display"


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [("mode", "shwo", "normal, display, debug"), ("cuda_visible", "maybe", "true or false")],
)
def test_values_that_do_not_parse_are_refused_by_name(
    config: Config, key: str, text: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"LAZYLLM_{key.upper()}", text)
    with pytest.raises(ConfigError, match=f"{key}.*LAZYLLM_{key.upper()}.*{text}.*{expected}"):
        _ = config[key]


def test_unknown_keys_name_the_nearest(config: Config, lazyllm_home: Path) -> None:
    with pytest.raises(ConfigError, match="'data_pth'.*'data_path'"):
        _ = config["data_pth"]
    (lazyllm_home / "config.toml").write_text('data_pth = "x"\n')
    with pytest.raises(ConfigError, match=r"config\.toml.*'data_pth'.*'data_path'"):
        _ = config["mode"]


def test_a_key_of_an_absent_plugin_is_passed_over(config: Config, lazyllm_home: Path) -> None:
    (lazyllm_home / "config.toml").write_text('partition = "a"\n[my_plugin]\ngreeting = 1\n')
    assert config["partition"] == "a"


def test_a_malformed_file_is_named_with_the_line(config: Config, lazyllm_home: Path) -> None:
    (lazyllm_home / "config.toml").write_text('a = "b"\nc = \n')
    with pytest.raises(ConfigError, match=r"config\.toml cannot be read.*line 2"):
        _ = config["mode"]


def test_keys_are_added_once(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    config.add("my.key", int, 3, "MY_KEY", description="mine").add("my.key", int, 3, "MY_KEY", description="mine")
    assert config["my.key"] == 3
    monkeypatch.setenv("LAZYLLM_MY_KEY", "7")
    assert config["my.key"] == 7
    with pytest.raises(ConfigError, match=r"is there already, with another default(.|\n)*It is: mine"):
        config.add("my.key", int, 4, "MY_KEY", description="mine")
    with pytest.raises(ConfigError, match=r"'other' \(its default\): 'x' is not int"):
        config.add("other", int, "x")
    with pytest.raises(ConfigError, match=r"my\.key.*True.*int"):
        config["my.key"] = True


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (Key("My.Key", str, "", ""), "without capital letters"),
        (Key("mine", "int", 3, ""), "not 'int'"),  # type: ignore[arg-type]
        (Key("mine", list, None, ""), "another class that text makes"),
        (Key("mine", str, "", "", env="MINE"), "a tuple of names, not 'MINE'"),  # type: ignore[arg-type]
    ],
)
def test_a_key_that_could_not_be_read_is_refused(config: Config, key: Key, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config._add_key(key)
    assert key.name not in repr(config)


def test_what_others_set_meanwhile_stays(config: Config) -> None:
    config["gpu_type"] = "A100"
    with config.override(gpu_type="H200", partition="mine"):
        config["launcher"] = "slurm"
    assert (config["gpu_type"], config["launcher"], config.setting("partition").source) == ("A100", "slurm", "default")


def test_a_home_of_nobody_is_refused(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAZYLLM_HOME", "~nobody-here/x")
    with pytest.raises(ConfigError, match="no such home folder(.|\n)*LAZYLLM_HOME"):
        _ = config.home


def test_secrets_do_not_show(config: Config) -> None:
    config["api_key"] = "sk-very-secret"
    assert "sk-very-secret" not in repr(config)
    assert config.setting("api_key").shown == "(hidden)"
    assert config["api_key"] == "sk-very-secret"


def test_debugging_is_logged(config: Config, lazyllm_home: Path) -> None:
    from lazyllm.common.log import LOG

    with config.override(mode="debug"):
        assert LOG.isEnabledFor(10)
    assert not LOG.isEnabledFor(10)
    for mode in (Mode.Debug, Mode.Normal):
        (lazyllm_home / "config.toml").write_text(f'mode = "{mode}"')
        assert config["mode"] is mode and LOG.isEnabledFor(10) == (mode is Mode.Debug)


def test_an_override_ends(config: Config) -> None:
    with pytest.raises(RuntimeError), config.override(mode="display"):
        assert config["mode"] is Mode.Display
        raise RuntimeError
    assert config["mode"] is Mode.Normal


def test_no_repr_shows_a_secret(config: Config) -> None:
    config["model_source_token"] = config["api_key"] = "S3CR3T"
    shown = repr(config) + repr(config.setting("api_key")) + repr(config.settings())
    assert "S3CR3T" not in shown and "<Setting api_key=(hidden) (code)>" in shown


def test_a_relative_home_stays_where_it_was(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAZYLLM_HOME", "here")
    assert config.home == tmp_path / "here"
    monkeypatch.chdir("/")
    assert config.home == tmp_path / "here"


def test_a_key_of_a_known_plugin_names_it(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "_plugins_asked", True)
    with pytest.raises(ConfigError, match=r"'sco\.workspace'(.|\n)*pip install lazyllm-launch-sco"):
        _ = config["sco.workspace"]


def test_the_file_cannot_move_its_own_home(
    config: Config, lazyllm_home: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LOG, "propagate", True)
    (lazyllm_home / "config.toml").write_text('home = "/elsewhere"\n')
    assert config["partition"] == "your_part" and config.home == lazyllm_home
    assert "home is where this file is found. It is not used." in caplog.text


def test_keys_of_plugins_are_there_for_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(self: Config) -> None:
        time.sleep(0.1)
        self.add("late.key", int, 7)

    monkeypatch.setattr(Config, "_add_plugins_keys", slow)
    config, gate = Config(), threading.Barrier(8)

    def read(_: int) -> object:
        gate.wait(5)
        return config["late.key"]

    with ThreadPoolExecutor(8) as pool:
        assert [*pool.map(read, range(8))] == [7] * 8
