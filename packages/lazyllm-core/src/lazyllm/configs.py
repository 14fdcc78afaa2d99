"""`lazyllm.config`: settings with a type, a default and a source.

From lowest to highest: the default, `$LAZYLLM_HOME/config.toml`, the environment variable `LAZYLLM_<KEY>`, and what
code sets (`lazyllm.config["key"] = value`, which the command line's flags do too). Plugins add keys of their own.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from .config_keys import CORE_KEYS as CORE_KEYS
from .config_keys import Key as Key
from .config_keys import Mode as Mode
from .config_keys import check_key, convert
from .errors import ConfigError, near


@dataclass(frozen=True, repr=False)
class Setting:
    """A key's value and where it comes from: `default`, `file PATH`, `environment VARIABLE` or `code`."""

    key: Key
    value: Any
    source: str

    @property
    def shown(self) -> str:
        """The value as it may be printed."""
        return "(hidden)" if self.key.secret and self.value else repr(self.value)

    def __repr__(self) -> str:
        return f"<Setting {self.key.name}={self.shown} ({self.source})>"


class Config:
    """All settings. Reading converts and checks the value; a value that does not parse is refused by name."""

    def __init__(self) -> None:
        self._keys: dict[str, Key] = {key.name: key for key in CORE_KEYS}
        self._owners: dict[str, str] = {}
        self._set: dict[str, Any] = {}
        self._plugins_asked = False
        self._asking = threading.RLock()
        self._faults: dict[str, list[str]] = {}
        self._homes: dict[str, Path] = {}
        self._file: tuple[tuple[str, int, int] | None, dict[str, Any]] = (None, {})

    @property
    def home(self) -> Path:
        """`LAZYLLM_HOME`, absolute; a relative one stands below the working folder in which it was first asked for."""
        value = self._set.get("home") or os.environ.get("LAZYLLM_HOME") or "~/.lazyllm"
        if value.startswith("~"):
            value = os.path.expanduser(value)  # noqa: PTH111
            if value.startswith("~"):
                raise ConfigError(
                    f"LAZYLLM_HOME is {value!r}, and there is no such home folder here (HOME is not set, perhaps).",
                    hint="Let LAZYLLM_HOME name a folder of yours.",
                )
        if os.path.isabs(value):  # noqa: PTH117
            return Path(os.path.abspath(value))  # noqa: PTH100 (no symlink is resolved)
        return self._homes.setdefault(value, Path(os.path.abspath(value)))  # noqa: PTH100

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

    def _add_key(self, key: Key, owner: str = "this program") -> None:
        check_key(key)
        if key.default is not None:
            convert(key, key.default, "its default")
        held = self._keys.setdefault(key.name, key)
        if held is key:
            self._owners[key.name] = owner
        elif held != key:
            unlike = [f.name for f in fields(Key) if getattr(held, f.name) != getattr(key, f.name)]
            raise ConfigError(
                f"Configuration key {key.name!r} is there already, with another {' and '.join(unlike)}: "
                f"it was added by {self._owners.get(key.name, 'lazyllm-core')}.",
                hint=f"Use it as it is, or choose another name. It is: {held.description or held.name}.",
            )

    def _key(self, name: str) -> Key:
        name = str(name).lower()
        if name not in self._keys:
            self._ask_plugins()
        if name not in self._keys:
            from .registry.catalog import distribution_of_key, install

            plugin = distribution_of_key(name)
            raise ConfigError(
                f"There is no configuration key {name!r}. "
                + (f"It belongs to {plugin}, not installed here." if plugin else near(name, self._keys)),
                hint=install(plugin) if plugin else "lazyllm config lists all keys.",
            )
        return self._keys[name]

    def _ask_plugins(self) -> None:
        with self._asking:  # others wait until all keys are there; a plugin that reads a setting meanwhile does not
            if not self._plugins_asked:
                self._plugins_asked = True
                self._add_plugins_keys()

    def _add_plugins_keys(self) -> None:
        from .plugins import call

        found, failed = call("lazyllm_config_keys", Key)
        self._faults = {distribution: [why] for distribution, why in failed.items()}
        for distribution, keys in found.items():
            for key in keys:
                try:
                    self._add_key(key, distribution)
                except ConfigError as error:
                    self._faults.setdefault(distribution, []).append(error.message)
        if self._faults:
            from .common.log import LOG

            for distribution, faults in self._faults.items():
                for why in faults:
                    LOG.warning("A configuration key of %s is left out: %s", distribution, why)

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
            if "mode" in self._file[1]:
                self._follow_mode()
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
                if self._key(name).name == "home":
                    raise ConfigError(f"{path}: home is where this file is found.", hint="Set LAZYLLM_HOME instead.")
            except ConfigError as error:
                if "Did you mean" in error.message:
                    raise ConfigError(f"{path}: {error.message}", hint=error.hint) from None
                from .common.log import LOG

                LOG.warning("%s: %s It is not used.", path, error.message)
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
            text = os.environ.get(variable)
            if text is not None and (text or not key.default):  # an empty one unsets what is empty by default only
                source = f"environment {variable}"
                return Setting(key, convert(key, text, source), source)
        held = self._from_file()
        if key.name in held:
            source = f"file {self.file}"
            return Setting(key, convert(key, held[key.name], source), source)
        return Setting(key, self._default(key), "default")

    def _default(self, key: Key) -> Any:
        """Return the key's default; one below ~/.lazyllm moves with `LAZYLLM_HOME`."""
        if isinstance(key.default, str) and key.default.startswith("~/.lazyllm/"):
            return key.default.replace("~/.lazyllm", str(self.home), 1)
        return key.default

    def all_keys(self) -> list[Key]:
        """Return what is known of all keys, plugins' too."""
        self._ask_plugins()
        return list(self._keys.values())

    def faults(self) -> dict[str, list[str]]:
        """Return distribution → what is wrong with the configuration keys that it would add."""
        self._ask_plugins()
        return self._faults

    def settings(self) -> list[Setting]:
        """Return every key's setting, plugins' keys included, in alphabetic order."""
        self._ask_plugins()
        return [self.setting(name) for name in sorted(self._keys)]

    def __getitem__(self, name: str) -> Any:
        return self.setting(name).value

    def __setitem__(self, name: str, value: Any) -> None:
        key = self._key(name)
        self._set[key.name] = convert(key, value, "set in code")
        if key.name == "mode":
            self._follow_mode()

    def _follow_mode(self) -> None:
        from .common.log import set_level

        set_level(self["mode"] is Mode.Debug)

    def __delitem__(self, name: str) -> None:
        if self._set.pop(self._key(name).name, None) is not None and "mode" not in self._set:
            self._follow_mode()

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
            for name in (name.replace("__", ".").lower() for name in values):
                if name in before:
                    self._set[name] = before[name]
                else:
                    self._set.pop(name, None)
            if "mode" in values:
                self._follow_mode()

    def __repr__(self) -> str:
        shown = (f"{s.key.name}={s.shown}" for s in self.settings())
        return f"<lazyllm.config: {', '.join(shown)}>"


config = Config()

SECRET = re.compile("key|token|secret|pass|credential|header|auth", re.I)


def is_secret_variable(name: str) -> bool:
    """Say whether an environment variable may hold a secret: that of a secret key of ours, or one that sounds so."""
    return SECRET.search(name) is not None or any(key.secret and name in key.variables for key in config.all_keys())
