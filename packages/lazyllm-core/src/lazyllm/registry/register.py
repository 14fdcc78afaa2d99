"""`component_register`: a function becomes a component."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from ..errors import InputError, near
from .entries import BASES
from .group import Group, canonical, find_group, group_names
from .registered import Registered

F = TypeVar("F", bound=Callable[..., Any])


class Register:
    """Make decorators that turn functions into components of a group.

    Args:
        base: the class that the components and new groups derive from.
        fnames: the methods that a function may stand for; the first is the default.
        template: accepted for compatibility; nothing is generated from it.

    `register("group")` takes the group's `__reg_overwrite__` method or the first of `fnames`;
    `register.NAME("group")` takes the method NAME. The decorator returns the function itself.
    """

    def __init__(self, base: type, fnames: str | Iterable[str], template: str | None = None) -> None:
        if not isinstance(base, type):
            raise InputError(f"A register stands on a class, not on {base!r}.")
        self._base = base if issubclass(base, Registered) else _registered(base)
        self._methods = (fnames,) if isinstance(fnames, str) else tuple(fnames)
        if not self._methods:
            raise InputError("A register needs at least one method name that functions can stand for.")

    def __call__(
        self, group: str | type, *, rewrite_func: str | None = None, func_name: str | None = None
    ) -> Callable[[F], F]:
        name = group.__name__ if isinstance(group, type) else group
        if not isinstance(name, str):
            raise InputError(f"A group is given by its name or its base class, not by {group!r}.")
        found, base = self._group(name)
        method = rewrite_func or getattr(base, "__reg_overwrite__", None) or self._methods[0]
        if method not in self._methods:
            raise InputError(f"A function cannot stand for {method!r}. {near(method, self._methods)}")

        def decorate(func: F, name: str | None = None) -> F:
            self._make(func, name or func_name or getattr(func, "__name__", None), method, found, base)
            return func

        return decorate

    def _group(self, name: str) -> tuple[Group, type]:
        key = canonical(name)
        outer = key.rpartition(".")[0]
        if outer and key not in (f"{outer}.{n}" for n in dir(find_group(outer))):
            _, base = self._group(outer)
            last = key.rpartition(".")[2]
            type(f"LazyLLM{last.capitalize()}Base", (base,), {})
        found = find_group(key)
        base = found._base or self._load_base(found)
        if not issubclass(base, self._base):
            raise InputError(f"Group {key!r} holds {base.__name__}, which functions cannot become here.")
        return found, base

    def _load_base(self, group: Group) -> type:
        """Import the base class of one of the core's groups, which opens the group."""
        import lazyllm

        base: type = getattr(lazyllm, BASES[group._name]) if group._name in BASES else self._base
        return base

    def _make(self, func: Callable[..., Any], name: Any, method: str, group: Group, base: type) -> None:
        if not callable(func):
            raise InputError(f"{func!r} is no function: a component stands for one.")
        if name is None:
            raise InputError(f"{func!r} has no name: give the component one, func_name=….")
        if not isinstance(name, str) or not name.isidentifier():
            raise InputError(f"{name!r} cannot name a component: expected letters, digits and underscores.")

        @functools.wraps(func)
        def call(self: Any, *args: Any, **kw: Any) -> Any:
            return func(*args, **kw)

        origin = func.func if isinstance(func, functools.partial) else func
        module = getattr(origin, "__module__", None) or "__main__"  # None in code run by exec()
        qualname = getattr(origin, "__qualname__", name)
        place = {"__module__": module, "__qualname__": qualname, "__doc__": origin.__doc__}
        type(name, (base,), {**place, method: call})

    def __getattr__(self, name: str) -> Callable[..., Callable[[F], F]]:
        if name.startswith("_") or name not in self._methods:
            raise AttributeError(f"This register has no {name!r}; functions can stand for {', '.join(self._methods)}.")
        return functools.partial(self, rewrite_func=name)

    def new_group(self, group_name: str) -> None:
        """Make the group `lazyllm.<group_name>`; of a nested one, `outer.inner`, the outer one too.

        Raises:
            InputError: `lazyllm.<group_name>` is something else, or one of the groups of the core or of a plugin.
        """
        key = canonical(group_name)
        from .. import _is_taken

        if _is_taken(key.partition(".")[0]):
            raise InputError(f"{group_name!r} cannot name a group: lazyllm.{key} is something else already.")
        if key in group_names():
            if key in BASES or not issubclass(find_group(key)._base or object, self._base):
                raise InputError(f"There is a group {key!r} already.", hint="It can be added to as it is.")
            return
        outer, _, last = key.rpartition(".")
        if outer and outer not in group_names():
            self.new_group(outer)
        base = self._group(outer)[1] if outer else self._base
        type(f"LazyLLM{last.capitalize()}Base", (base,), {})


def _registered(base: type) -> type:
    """Return a class like `base` whose subclasses register themselves."""
    try:
        return type(f"_{base.__name__}", (base, Registered), {"__module__": base.__module__})
    except TypeError as error:
        raise InputError(f"{base.__name__} cannot be the base of a register: {error}.") from None


__all__ = ["Register", "Registered"]
