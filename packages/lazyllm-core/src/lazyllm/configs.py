"""`lazyllm.config`: settings with a type, a default and a source.

From lowest to highest: the default, `$LAZYLLM_HOME/config.toml`, the environment variable `LAZYLLM_<KEY>`, and what
code sets (`lazyllm.config["key"] = value`, which the command line's flags do too). Plugins add keys of their own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from .errors import ConfigError, near


class Mode(StrEnum):
    """Run jobs, or (`display`) only show what would be run; `debug` runs them and logs more."""

    Normal = "normal"
    Display = "display"
    Debug = "debug"


@dataclass(frozen=True)
class Key:
    """One setting. `env` lists the variables that are read, without their `LAZYLLM_`, the preferred one first."""

    name: str
    type: type
    default: Any
    description: str
    env: tuple[str, ...] = ()
    options: tuple[Any, ...] = ()
    secret: bool = False

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(f"LAZYLLM_{name.upper()}" for name in (self.env or (self.name.replace(".", "_"),)))


@dataclass(frozen=True)
class Setting:
    """A key's value and where it comes from: `default`, `file PATH`, `environment VARIABLE` or `code`."""

    key: Key
    value: Any
    source: str

    @property
    def shown(self) -> str:
        """The value as it may be printed."""
        return "(hidden)" if self.key.secret and self.value else repr(self.value)


CORE_KEYS = (
    Key("home", str, "~/.lazyllm", "Folder of configuration, job records and caches"),
    Key("mode", Mode, Mode.Normal, "normal: run jobs; display: only show their commands; debug: log more"),
    Key(
        "launcher",
        str,
        "empty",
        "What launchers.remote stands for",
        ("DEFAULT_LAUNCHER", "LAUNCHER", "DEAULT_LAUNCHER"),
    ),
    Key("partition", str, "your_part", "The scheduler's partition", ("SLURM_PART", "PARTITION")),
    Key("cuda_visible", bool, True, "Choose GPUs for local jobs by setting CUDA_VISIBLE_DEVICES"),
    Key("gpu_type", str, "", "Type of GPU to plan for; empty: what the machine has"),
    Key("trust_remote_code", bool, False, "Let models run code that comes with their files"),
    Key("model_source", str, "", "Hub that models are downloaded from; empty: none"),
    Key("model_source_token", str, "", "Access token for the hub", secret=True),
    Key("model_path", str, "", "Folders that hold models, absolute, separated by colons"),
    Key("model_cache_dir", str, "~/.lazyllm/model", "Where downloaded models are kept"),
    Key("train_target_root", str, "", "Folder below which target_path stands; empty: the working folder"),
    Key("data_path", str, "", "Folder in which data files are looked up; empty: the working folder"),
    Key("temp_dir", str, "", "Folder for temporary files; empty: the system's"),
    Key("api_key", str, "", "Key that servers started here demand and that clients send", secret=True),
    Key("default_embedding_engine", str, "", "Engine for embedding models; empty: the best that is installed"),
)


def _parse_bool(text: str) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    return words[text.strip().lower()]


def _convert(key: Key, value: Any, source: str) -> Any:
    """Return `value` as the key's type, or raise a ConfigError that names key, source and what was expected."""
    expected = key.type.__name__ if key.type not in (bool, Mode) else "true or false"
    if key.type is Mode:
        expected = ", ".join(m.value for m in Mode)
    try:
        if isinstance(value, key.type):
            converted = value
        elif isinstance(value, str):
            lowered = value.lower() if key.type is Mode else value
            converted = _parse_bool(value) if key.type is bool else key.type(lowered)
        elif key.type is float and isinstance(value, int) and not isinstance(value, bool):
            converted = float(value)
        elif key.type is str and isinstance(value, os.PathLike):
            converted = os.fspath(value)
        else:
            raise ValueError
        if isinstance(converted, bool) and key.type is not bool:
            raise ValueError
    except (ValueError, KeyError, TypeError):
        shown = "its value" if key.secret else repr(value)
        raise ConfigError(f"Configuration key {key.name!r} ({source}): {shown} is not {expected}.") from None
    if key.options and converted not in key.options:
        raise ConfigError(f"Configuration key {key.name!r} ({source}): {value!r} is none of {list(key.options)}.")
    return converted


class Config:
    """All settings. Reading converts and checks the value; a value that does not parse is refused by name."""

    def __init__(self) -> None:
        self._keys: dict[str, Key] = {key.name: key for key in CORE_KEYS}
        self._set: dict[str, Any] = {}
        self._plugins_asked = False
        self._file: tuple[tuple[str, int, int] | None, dict[str, Any]] = (None, {})

    @property
    def home(self) -> Path:
        """`LAZYLLM_HOME`, absolute."""
        value = self._set.get("home") or os.environ.get("LAZYLLM_HOME") or "~/.lazyllm"
        return Path(os.path.abspath(os.path.expanduser(value)))  # noqa: PTH100, PTH111 (no symlink is resolved)

    @property
    def file(self) -> Path:
        """The configuration file, which need not exist."""
        return self.home / "config.toml"

    def add(
        self,
        name: str,
        type: type,
        default: Any = None,
        env: str | tuple[str, ...] | None = None,
        *,
        description: str = "",
        options: tuple[Any, ...] | list[Any] | None = None,
        secret: bool = False,
    ) -> Config:
        """Add a key. The same definition twice is fine, another one under the same name is an error."""
        names = (env,) if isinstance(env, str) else tuple(env or ())
        self._add_key(Key(name, type, default, description, names, tuple(options or ()), secret))
        return self

    def _add_key(self, key: Key) -> None:
        held = self._keys.setdefault(key.name, key)
        if held != key:
            raise ConfigError(f"Configuration key {key.name!r} is defined twice: {held!r} and {key!r}.")

    def _key(self, name: str) -> Key:
        name = str(name).lower()
        if name not in self._keys:
            self._ask_plugins()
        if name not in self._keys:
            raise ConfigError(
                f"There is no configuration key {name!r}. {near(name, self._keys)}",
                hint="lazyllm config lists all keys.",
            )
        return self._keys[name]

    def _ask_plugins(self) -> None:
        if self._plugins_asked:
            return
        self._plugins_asked = True
        from .plugins import call

        found, failed = call("lazyllm_config_keys")
        for distribution, keys in found.items():
            for key in keys:
                try:
                    self._add_key(key)
                except ConfigError as error:
                    failed[distribution] = error.message
        if failed:
            from .common.log import LOG

            for distribution, why in failed.items():
                LOG.warning("Configuration keys of %s are left out: %s", distribution, why)

    def _from_file(self) -> dict[str, Any]:
        """Return the file's settings, dotted; read again when the file has changed."""
        path = self.file
        try:
            status = path.stat()
        except OSError:
            return {}
        stamp = (str(path), status.st_mtime_ns, status.st_size)
        if self._file[0] != stamp:
            self._file = (stamp, self._read_file(path))
        return self._file[1]

    def _read_file(self, path: Path) -> dict[str, Any]:
        import tomllib

        try:
            tree = tomllib.loads(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from None
        flat: dict[str, Any] = {}

        def flatten(prefix: str, table: dict[str, Any]) -> None:
            for name, value in table.items():
                if isinstance(value, dict):
                    flatten(f"{prefix}{name}.", value)
                else:
                    flat[f"{prefix}{name}".lower()] = value

        flatten("", tree)
        for name in flat:
            try:
                self._key(name)
            except ConfigError as error:
                if "Did you mean" in error.message:
                    raise ConfigError(f"{path}: {error.message}", hint=error.hint) from None
                from .common.log import LOG

                LOG.warning("%s: %s It is not used; perhaps its plugin is not installed.", path, error.message)
        return flat

    def setting(self, name: str) -> Setting:
        """Return the value of `name` with its source."""
        key = self._key(name)
        if key.name == "home":
            source = "environment LAZYLLM_HOME" if os.environ.get("LAZYLLM_HOME") else "default"
            return Setting(key, str(self.home), "code" if "home" in self._set else source)
        if key.name in self._set:
            return Setting(key, self._set[key.name], "code")
        for variable in key.variables:
            if (text := os.environ.get(variable)) is not None:
                source = f"environment {variable}"
                return Setting(key, _convert(key, text, source), source)
        held = self._from_file()
        if key.name in held:
            source = f"file {self.file}"
            return Setting(key, _convert(key, held[key.name], source), source)
        return Setting(key, self._default(key), "default")

    def _default(self, key: Key) -> Any:
        """Return the key's default; one below ~/.lazyllm moves with `LAZYLLM_HOME`."""
        if isinstance(key.default, str) and key.default.startswith("~/.lazyllm/"):
            return key.default.replace("~/.lazyllm", str(self.home), 1)
        return key.default

    def settings(self) -> list[Setting]:
        """Return every key's setting, plugins' keys included, in alphabetic order."""
        self._ask_plugins()
        return [self.setting(name) for name in sorted(self._keys)]

    def __getitem__(self, name: str) -> Any:
        return self.setting(name).value

    def __setitem__(self, name: str, value: Any) -> None:
        key = self._key(name)
        self._set[key.name] = _convert(key, value, "set in code")

    def __delitem__(self, name: str) -> None:
        self._set.pop(self._key(name).name, None)

    def __contains__(self, name: object) -> bool:
        try:
            return bool(self._key(str(name)))
        except ConfigError:
            return False

    def __iter__(self) -> Iterator[str]:
        self._ask_plugins()
        return iter(sorted(self._keys))

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of `name`, or `default` if there is no such key."""
        return self[name] if name in self else default  # noqa: SIM401 (that would call itself)

    @contextmanager
    def override(self, **values: Any) -> Iterator[Config]:
        """Set keys in code for the length of a `with` block (a dotted key's dots are written as `__`)."""
        before = dict(self._set)
        try:
            for name, value in values.items():
                self[name.replace("__", ".")] = value
            yield self
        finally:
            self._set = before

    def __repr__(self) -> str:
        shown = (f"{s.key.name}={s.shown}" for s in self.settings())
        return f"<lazyllm.config: {', '.join(shown)}>"


config = Config()
