"""Launchers under their historic place: `lazyllm.launcher.EmptyLauncher`, `SlurmLauncher`, … and `RemoteLauncher`."""

from __future__ import annotations

from typing import Any

from .jobs.job import Job
from .jobs.launcher import LazyLLMLaunchersBase
from .jobs.status import Status

__all__ = ["Job", "LazyLLMLaunchersBase", "RemoteLauncher", "Status", "resolve_launcher"]


class RemoteLauncher(LazyLLMLaunchersBase):
    """Stands for the launcher that `config["launcher"]` names: making one makes that one.

    Args:
        sync: whether `launch` waits for the job's end.
        ngpus: GPUs for a job.
        *args, **kw: whatever else that launcher takes; an unknown keyword is an error of its own.
    """

    def __new__(cls, *args: Any, sync: bool = False, ngpus: int | None = 1, **kw: Any) -> Any:
        from .configs import config
        from .errors import ConfigError
        from .registry import find_group

        name = config["launcher"]
        chosen = getattr(find_group("launchers"), name)
        if issubclass(chosen, RemoteLauncher):
            raise ConfigError(f"config['launcher'] is {name!r}, which stands for whatever config['launcher'] names.")
        return chosen(*args, sync=sync, ngpus=ngpus, **kw)


def resolve_launcher(launcher: Any, *, sync: bool = False, ngpus: int | None = None) -> LazyLLMLaunchersBase:
    """Return a launcher for what users pass: an instance, a class, a name, or None for the configured one."""
    from .errors import InputError
    from .registry import find_group

    if launcher is None:
        return RemoteLauncher(sync=sync, ngpus=ngpus)  # type: ignore[no-any-return]
    if isinstance(launcher, str):
        launcher = getattr(find_group("launchers"), launcher)
    if isinstance(launcher, type) and issubclass(launcher, LazyLLMLaunchersBase):
        launcher = launcher()
    if not isinstance(launcher, LazyLLMLaunchersBase):
        raise InputError(f"launcher={launcher!r} is no launcher: expected one of lazyllm.launchers, such as empty().")
    return launcher


def __getattr__(name: str) -> Any:
    from .registry import component_by_class_name

    return component_by_class_name(name, __name__)
