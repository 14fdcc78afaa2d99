"""Find a component by its class name: what `from lazyllm import AlpacaPrompter` stands on."""

from __future__ import annotations

from typing import Any

from ..errors import MissingPluginError
from .catalog import distribution_of_class, install
from .entries import by_attribute, only


def component_by_class_name(name: str, module: str = "lazyllm") -> Any:
    """Return the class `name` of any installed plugin.

    Raises:
        MissingPluginError: an ImportError with the command that installs the plugin, if it is a known one.
        AttributeError: nobody knows the name.
    """
    if claims := by_attribute(name):
        return only(claims).load()
    if distribution := distribution_of_class(name):
        raise MissingPluginError(
            f"{name} needs the plugin {distribution}, which is not installed.", hint=install(distribution)
        )
    raise AttributeError(f"module {module!r} has no attribute {name!r}")
