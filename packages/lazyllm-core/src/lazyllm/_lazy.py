"""Modules whose names are loaded when they are asked for (PEP 562), so that importing the package costs nothing."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # importing typing would cost more than importing the package
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


def lazy_exports(
    module: str, where: Mapping[str, str], otherwise: Callable[[str], Any] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` for `module`.

    Args:
        where: exported name → the module that holds it under the same name.
        otherwise: asked for names that `where` lacks; it returns the object or raises an AttributeError or ImportError.
    """

    def __getattr__(name: str) -> Any:
        if name in where:
            import importlib

            value = getattr(importlib.import_module(where[name]), name)
        elif otherwise is not None and not name.startswith("__"):
            return otherwise(name)
        else:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        setattr(sys.modules[module], name, value)
        return value

    def __dir__() -> list[str]:
        return sorted({name for name in vars(sys.modules[module]) if name[0] != "_" or name[:2] == "__"} | {*where})

    return __getattr__, __dir__, sorted(where)
