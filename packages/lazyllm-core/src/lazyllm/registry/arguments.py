"""What a constructor takes, and errors of ours for what it does not."""

from __future__ import annotations

from abc import ABCMeta
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from ..errors import ArgumentError, near

if TYPE_CHECKING:
    import inspect
    from collections.abc import Mapping

T = TypeVar("T")


class Checked(ABCMeta):
    """The type of classes whose constructors answer arguments that they do not take with an `ArgumentError`."""

    @property
    def __signature__(cls) -> inspect.Signature | None:
        """What `inspect.signature` and `help` show: the constructor's arguments, not those of `__call__`."""
        return _signature(cls)

    def __call__(cls: type[T], *args: Any, **kw: Any) -> T:
        try:
            return super().__call__(*args, **kw)  # type: ignore[misc, no-any-return]
        except ArgumentError:
            raise  # of another class, made within
        except TypeError:
            _check(cls, args, kw)
            raise


def _check(cls: type, args: tuple[Any, ...], kw: Mapping[str, Any]) -> None:
    """Raise an ArgumentError that names the class, the argument, the nearest and all that it takes, if one is wrong."""
    signature = _signature(cls)
    if signature is None:
        return
    try:
        signature.bind(*args, **kw)
    except TypeError as error:
        _refuse(signature, _name(cls), kw, str(error))


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
        and signature.parameters[name].kind in _named()
    }


def _named() -> tuple[Any, ...]:
    import inspect

    return inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY


def _signature(cls: type) -> inspect.Signature | None:
    import inspect

    try:
        whole = inspect.signature(cls.__init__)  # type: ignore[misc]
    except (TypeError, ValueError):
        return None
    return whole.replace(parameters=list(whole.parameters.values())[1:])


def _name(cls: type) -> str:
    named = getattr(cls, "component_name", None) if getattr(cls, "_lazy_llm_group", "") else None
    return str(named()) if named else cls.__name__


def _refuse(signature: inspect.Signature, who: str, kw: Mapping[str, Any], words: str) -> NoReturn:
    known = [name for name, parameter in signature.parameters.items() if parameter.kind in _named()]
    takes = f"It takes: {', '.join(known) or 'no argument'}."
    for name in kw:
        if name not in known:
            nearest = near(name, known)
            words = f"{who} has no argument {name!r}."
            raise ArgumentError(f"{words} {nearest}" if nearest.startswith("Did") else words, hint=takes) from None
    raise ArgumentError(f"{who}: {words}.", hint=takes) from None
