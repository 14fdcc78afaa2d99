"""What a launcher's constructor takes, and errors of ours for what it does not."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, NoReturn

from ..errors import InputError, near

NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class ArgumentError(InputError, TypeError):
    """An argument that a launcher's constructor does not take, or one that it lacks."""


def check_arguments(cls: type, who: str, args: tuple[Any, ...], kw: Mapping[str, Any]) -> None:
    """Refuse what `cls(*args, **kw)` would end with a bare TypeError for.

    Raises:
        ArgumentError: it names the launcher `who`, the argument, the nearest and all that it takes.
    """
    signature = _signature(cls)
    if signature is None:
        return
    try:
        signature.bind(*args, **kw)
    except TypeError as error:
        _refuse(signature, who, kw, str(error))


def assumed(cls: type, args: tuple[Any, ...], kw: Mapping[str, Any], wished: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of `wished` that the caller has not given in `args` or `kw` and that the constructor takes."""
    signature = _signature(cls)
    if signature is None:
        return {}
    try:
        given = signature.bind_partial(*args, **kw).arguments
    except TypeError:
        given = dict(kw)  # the constructor's check says what is wrong
    return {
        name: value
        for name, value in wished.items()
        if name not in given
        and name not in kw
        and name in signature.parameters
        and signature.parameters[name].kind in NAMED
    }


def _signature(cls: type) -> inspect.Signature | None:
    try:
        whole = inspect.signature(cls.__init__)  # type: ignore[misc]
    except (TypeError, ValueError):
        return None
    return whole.replace(parameters=list(whole.parameters.values())[1:])


def _refuse(signature: inspect.Signature, who: str, kw: Mapping[str, Any], words: str) -> NoReturn:
    known = [name for name, parameter in signature.parameters.items() if parameter.kind in NAMED]
    takes = f"It takes: {', '.join(known) or 'no argument'}."
    for name in kw:
        if name not in known:
            nearest = near(name, known)
            words = f"launchers.{who} has no argument {name!r}."
            raise ArgumentError(f"{words} {nearest}" if nearest.startswith("Did") else words, hint=takes) from None
    raise ArgumentError(f"launchers.{who}: {words}.", hint=takes) from None
