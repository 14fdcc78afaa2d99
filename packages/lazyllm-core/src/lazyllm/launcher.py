"""Launchers under their historic place: `lazyllm.launcher.EmptyLauncher`, `SlurmLauncher`, … and `RemoteLauncher`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .jobs.job import Job
from .jobs.launcher import LazyLLMLaunchersBase
from .jobs.status import Status
from .registry.classes import class_finder

__all__ = ["Job", "LazyLLMLaunchersBase", "RemoteLauncher", "Status", "resolve_launcher"]


class RemoteLauncher(LazyLLMLaunchersBase):
    """Stands for the launcher that `config["launcher"]` names: making one makes that one.

    Args:
        *args, **kw: what that launcher takes; anything else is an error that names the nearest.
            `sync` (whether `launch` waits for the job's end) is False and `ngpus` (GPUs for a job) 1 where they are
            left out and that launcher takes them.
    """

    def __new__(cls, *args: Any, **kw: Any) -> Any:
        return _make(_configured(), args, kw, {"sync": False, "ngpus": 1})

    def __init__(self, *args: Any, sync: bool = False, ngpus: int | None = 1, **kw: Any) -> None:
        raise NotImplementedError  # it tells what can be given; `__new__` returns another launcher


def resolve_launcher(launcher: Any, *, sync: bool = False, ngpus: int | None = None) -> LazyLLMLaunchersBase:
    """Return a launcher for what users pass: an instance, a class, a name, or None for the configured one.

    `sync` and `ngpus` are what one that is made here gets, as far as it takes them.
    """
    from .errors import InputError
    from .registry import find_group

    if launcher is None:
        launcher = _configured()
    if isinstance(launcher, str):
        launcher = getattr(find_group("launchers"), launcher)
    if isinstance(launcher, type) and issubclass(launcher, LazyLLMLaunchersBase):
        launcher = _make(launcher, (), {}, {"sync": sync, "ngpus": ngpus})
    if not isinstance(launcher, LazyLLMLaunchersBase):
        raise InputError(f"launcher={launcher!r} is no launcher: expected one of lazyllm.launchers, such as empty().")
    return launcher


def _configured() -> type[LazyLLMLaunchersBase]:
    from .configs import config
    from .errors import ConfigError, UnknownNameError
    from .registry import find_group

    told = config.setting("launcher")
    what = f"Configuration key 'launcher', {told.value!r} (from {told.source})"
    try:
        chosen = getattr(find_group("launchers"), told.value)
    except UnknownNameError as error:
        if told.source == "default":
            raise
        raise type(error)(f"{what}: {error.message}", hint=error.hint) from None
    if not (isinstance(chosen, type) and issubclass(chosen, LazyLLMLaunchersBase)):
        raise ConfigError(f"{what}, is no launcher but {chosen!r}.")
    if issubclass(chosen, RemoteLauncher):
        raise ConfigError(f"{what}, stands for whatever that key names.")
    return chosen


def _make(
    chosen: type[LazyLLMLaunchersBase], args: tuple[Any, ...], kw: Mapping[str, Any], wished: Mapping[str, Any]
) -> LazyLLMLaunchersBase:
    """Make the chosen launcher; of `wished` it gets what the caller has not given and what it takes."""
    from .registry.arguments import assumed

    more = assumed(chosen, args, kw, wished)
    made = chosen(*args, **{**kw, **more})
    made.assumed = frozenset(more)
    return made


__getattr__ = class_finder(__name__)
