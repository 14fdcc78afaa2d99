"""Keyword arguments of trainers and engines: defaults, both spellings, and what is unknown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import InputError, near


def merge_keywords(
    who: str, defaults: Mapping[str, Any], given: Mapping[str, Any], constructor: Callable[..., Any] | None = None
) -> dict[str, Any]:
    """Return `defaults` updated with `given`; a dash and an underscore in a name are the same.

    `constructor` is the function that took them: its own parameters may be what an unknown name is near to.

    Raises:
        InputError: a name that `defaults` lacks, or one that is given in both spellings.
    """
    spelling = {name.replace("-", "_"): name for name in defaults}
    merged = dict(defaults)
    seen: dict[str, str] = {}
    for name, value in given.items():
        plain = name.replace("-", "_")
        if plain not in spelling:
            raise InputError(f"{who} has no keyword {name!r}. {near(plain, {*spelling, *_parameters(constructor)})}")
        if plain in seen:
            raise InputError(f"{who} is given {name!r} twice, as {seen[plain]!r} too.")
        seen[plain] = name
        merged[spelling[plain]] = value
    return merged


def check_keywords(cls: Any, given: Mapping[str, Any]) -> None:
    """Raise an InputError for a keyword that neither the constructor of `cls` nor its `defaults` know."""
    own = {name: value for name, value in given.items() if name not in _parameters(cls.__init__)}
    merge_keywords(cls.component_name(), cls.defaults, own, cls.__init__)


def _parameters(constructor: Callable[..., Any] | None) -> list[str]:
    import inspect

    found = inspect.signature(constructor).parameters.values() if constructor else ()
    return [p.name for p in found if p.name != "self" and p.kind is not p.VAR_KEYWORD]
