"""For launchers: what arguments may be. Each check refuses the rest, with an InputError that names the argument."""

from __future__ import annotations

import math
from typing import Any

from ..errors import InputError


def whole(name: str, value: Any, least: int, *, none: bool = False) -> None:
    """Refuse what is no whole number from `least`; None is fine if `none`."""
    if value is None and none:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name}={value!r}: expected a whole number from {least}{', or None' if none else ''}.")


def seconds(name: str, value: Any, otherwise: str = "no limit") -> None:
    """Refuse what is neither None, which means `otherwise`, nor a finite number of seconds above 0."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not (number and 0 < value < math.inf):
        raise InputError(f"{name}={value!r}: expected seconds, above 0, or None for {otherwise}.")


def flag(name: str, value: Any, *, none: bool = False) -> None:
    """Refuse what is neither True nor False; None is fine if `none`."""
    if not isinstance(value, bool) and not (value is None and none):
        raise InputError(f"{name}={value!r}: expected {'True, False or None' if none else 'True or False'}.")


def text(name: str, value: Any, whose: str, *, none: bool = True) -> None:
    """Refuse what is no name that an option of the scheduler `whose` can carry; None is fine if `none`."""
    if value is None and none:
        return
    plain = isinstance(value, str) and value.strip() == value and value.isprintable() and not value.startswith("-")
    if not plain or not value:
        raise InputError(f"{name}={value!r}: expected a name as {whose} knows it{', or None' if none else ''}.")


def python(value: Any) -> None:
    """Refuse what is neither None nor a path, which is looked for on the node only."""
    if value is not None and (not isinstance(value, str) or not value.strip() or "\0" in value):
        raise InputError(f"python={value!r}: expected the path of a Python on the node, or None for this one.")
