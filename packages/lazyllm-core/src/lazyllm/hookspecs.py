"""Every hook that a plugin may implement; the core calls each of them somewhere.

A plugin names its hook module in its entry points and marks its functions with `hookimpl`:

    [project.entry-points."lazyllm.plugins"]
    deploy-mine = "lazyllm_deploy_mine.hooks"

    # lazyllm_deploy_mine/hooks.py — imported for every listing, so it imports nothing heavy
    from lazyllm.hookspecs import Engine, Key, hookimpl

    @hookimpl
    def lazyllm_config_keys():
        return [Key("mine_cache", str, "", "Where the engine keeps its cache")]

    @hookimpl
    def lazyllm_engines():
        return [Engine.of_distribution("mine-engine", "pip install 'lazyllm-deploy-mine[engine]'")]
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pluggy

from .config_keys import Key as Key

hookspec = pluggy.HookspecMarker("lazyllm")
hookimpl = pluggy.HookimplMarker("lazyllm")


@dataclass(frozen=True)
class Engine:
    """A program or library that a plugin drives: its `version` if it is here, else None and the `remedy` to type."""

    name: str
    version: str | None
    remedy: str

    @classmethod
    def of_distribution(cls, name: str, remedy: str | None = None) -> Engine:
        """Look for the distribution `name` in this environment, without importing it."""
        from importlib.metadata import PackageNotFoundError, version

        try:
            found: str | None = version(name)
        except PackageNotFoundError:
            found = None
        return cls(name, found, remedy or f"pip install {name}")


@hookspec
def lazyllm_config_keys() -> Iterable[Key]:  # type: ignore[empty-body]
    """Return the configuration keys that the plugin adds; asked for when a key is unknown or all are listed."""


@hookspec
def lazyllm_engines() -> Iterable[Engine]:  # type: ignore[empty-body]
    """Return the engines that the plugin's components need; asked for by `lazyllm plugins`. Must not import them."""
