"""Small things that everything shares, under their historic names; each is loaded when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_exports

if TYPE_CHECKING:
    from ..registry import Register as Register
    from .log import LOG as LOG
    from .package import package as package
    from .state import globals as globals

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "LOG": "lazyllm.common.log",
        "Register": "lazyllm.registry",
        "globals": "lazyllm.common.state",
        "package": "lazyllm.common.package",
    },
)
