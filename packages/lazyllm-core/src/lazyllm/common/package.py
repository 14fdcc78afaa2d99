"""Several values that travel as one."""

from __future__ import annotations

from types import GeneratorType
from typing import Any, SupportsIndex, overload


class package(tuple[Any, ...]):
    """Several results of one step, spread over the arguments of the next.

    `package(1, 2)` and `package([1, 2])` are the same; slices and sums of packages are packages.
    """

    __slots__ = ()

    def __new__(cls, *values: Any) -> package:
        if len(values) == 1 and isinstance(values[0], (tuple, list, GeneratorType)):
            return super().__new__(cls, values[0])
        return super().__new__(cls, values)

    @overload
    def __getitem__(self, key: SupportsIndex) -> Any: ...
    @overload
    def __getitem__(self, key: slice) -> package: ...
    def __getitem__(self, key: SupportsIndex | slice) -> Any:
        found = super().__getitem__(key)
        return package(found) if isinstance(key, slice) else found

    def __add__(self, other: Any) -> package:
        return package(super().__add__(tuple(other)))
