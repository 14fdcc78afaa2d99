"""`lazyllm.globals`: values that belong to the current thread of control."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextvars import ContextVar
from typing import Any


class Globals(MutableMapping[str, Any]):
    """A mapping that each thread and each asyncio task sees a copy of its own of, so that requests do not mix.

    Values may be read and set as items or as attributes: `globals["user"]`, `globals.user`.
    """

    def __init__(self) -> None:
        object.__setattr__(self, "_values", ContextVar[dict[str, Any]]("lazyllm_globals"))

    def _read(self) -> dict[str, Any]:
        return self._values.get({})  # type: ignore[no-any-return]

    def __getitem__(self, key: str) -> Any:
        return self._read()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._values.set({**self._read(), key: value})

    def __delitem__(self, key: str) -> None:
        values = dict(self._read())
        del values[key]
        self._values.set(values)

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(f"lazyllm.globals holds no {name!r}; it holds {sorted(self)}.")

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


globals = Globals()
