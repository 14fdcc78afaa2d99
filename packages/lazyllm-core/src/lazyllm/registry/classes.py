"""Find a component by its class name: what `from lazyllm import AlpacaPrompter` stands on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import MissingPluginError
from .catalog import KNOWN, distribution_of_class, install
from .entries import COMMANDS, HOOKS, all_entries, by_attribute, load_component, only


def component_by_class_name(name: str, module: str = "lazyllm") -> Any:
    """Return the class `name` of any installed plugin.

    Raises:
        MissingPluginError: an ImportError with the command that installs the plugin, if it is a known one.
        AttributeError: nobody knows the name.
    """
    if claims := by_attribute(name):
        return load_component(only(claims))
    if distribution := distribution_of_class(name):
        raise MissingPluginError(
            f"{name} needs the plugin {distribution}, which is not installed.", hint=install(distribution)
        )
    raise AttributeError(f"module {module!r} has no attribute {name!r}")


def class_finder(module: str) -> Callable[[str], Any]:
    """Return a `__getattr__` for `module`, by which plugins' classes are found there under their historic place."""

    def __getattr__(name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return component_by_class_name(name, module)

    return __getattr__


def class_names() -> set[str]:
    """Return the names of all classes that installed or known plugins hold."""
    known = {cls for members in KNOWN.values() for cls, _ in members.values()}
    groups = (names for group, names in all_entries().items() if group not in (HOOKS, COMMANDS))
    return known | {entry.attribute for names in groups for claims in names.values() for entry in claims}
