"""Names of request parameters: the protocol's, and the other spellings that are understood."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import InputError

SPELLINGS = {"max_new_tokens": "max_tokens", "stop_sequences": "stop", "stop_words": "stop"}
"""Historic names of request parameters → the protocol's"""
PROMPTS = ("prompt", "messages", "inputs")


def spellings(name: str) -> list[str]:
    """Return `name` and the other names of that parameter."""
    same = SPELLINGS.get(name, name)
    return list(dict.fromkeys([name, same, *(other for other, one in SPELLINGS.items() if one == same)]))


def check_parameters(names: Iterable[str]) -> None:
    """Raise an InputError for two names of one parameter, and for one that is the prompt itself."""
    given: dict[str, str] = {}
    for name in names:
        if name in PROMPTS:
            raise InputError(f"{name}= is no parameter of a request: the input is the first argument of the call.")
        other = given.setdefault(SPELLINGS.get(name, name), name)
        if other != name:
            raise InputError(f"{other} and {name} are one parameter; give it once.")
