"""What a setting is: its name, type, default and variables. The core's own keys stand here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .errors import ConfigError


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


def check_key(key: Key) -> None:
    """Raise a ConfigError for a key that could not be read under its name, from its variables, or as its type."""
    wrong = ""
    if not isinstance(key.name, str) or key.name != key.name.lower() or not key.name:
        wrong = "its name has to be text without capital letters"
    elif not isinstance(key.type, type) or issubclass(key.type, (list, tuple, set, frozenset, dict, bytes)):
        wrong = f"its type has to be str, bool, int, float or another class that text makes, not {key.type!r}"
    elif isinstance(key.env, str) or not all(isinstance(name, str) for name in key.env):
        wrong = f"its env has to be a tuple of names, not {key.env!r}"
    if wrong:
        raise ConfigError(f"Configuration key {key.name!r}: {wrong}.")


def convert(key: Key, value: Any, source: str) -> Any:
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
