"""Keyword arguments of trainers and engines: defaults, both spellings, and what is unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InputError, near


def merge_keywords(who: str, defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return `defaults` updated with `given`; a dash and an underscore in a name are the same.

    Raises:
        InputError: a name that `defaults` lacks, or one that is given in both spellings.
    """
    spelling = {name.replace("-", "_"): name for name in defaults}
    merged = dict(defaults)
    seen: dict[str, str] = {}
    for name, value in given.items():
        plain = name.replace("-", "_")
        if plain not in spelling:
            raise InputError(f"{who} has no keyword {name!r}. {near(plain, spelling)}")
        if plain in seen:
            raise InputError(f"{who} is given {name!r} twice, as {seen[plain]!r} too.")
        seen[plain] = name
        merged[spelling[plain]] = value
    return merged
