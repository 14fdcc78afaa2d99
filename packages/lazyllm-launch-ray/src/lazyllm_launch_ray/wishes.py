"""What a launcher was asked for: checked when it is made, held against the cluster when a job is submitted."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lazyllm.errors import InputError
from lazyllm.jobs import checks

UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
BINARY = {"ki": 1024, "mi": 1024**2, "gi": 1024**3, "ti": 1024**4}
KEYWORDS = {"cpu": "ncpus", "gpu": "ngpus", "memory": "memory"}
FINEST = 0.0001
"""Ray counts resources in ten-thousandths."""


@dataclass(frozen=True)
class Wishes:
    """A job's size. The fields are explained in `RayLauncher`."""

    ngpus: float | None = None
    ncpus: float | None = None
    memory: int | str | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    timeout: float | None = None
    queue_timeout: float | None = None

    def __post_init__(self) -> None:
        amount("ngpus", self.ngpus)
        amount("ncpus", self.ncpus)
        if self.ngpus is not None and self.ngpus > 1 and self.ngpus != int(self.ngpus):
            raise InputError(f"ngpus={self.ngpus!r}: Ray shares out a part of one GPU, or whole ones.")
        object.__setattr__(self, "memory", size_of(self.memory))
        object.__setattr__(self, "resources", named(self.resources))
        checks.seconds("timeout", self.timeout)
        checks.seconds("queue_timeout", self.queue_timeout)

    def needs(self) -> dict[str, float]:
        """Return what a node must have, under Ray's names; nothing that is 0."""
        memory = float(self.memory or 0)  # a number since __post_init__
        found = {"CPU": self.ncpus or 0, "GPU": self.ngpus or 0, "memory": memory, **self.resources}
        return {name: value for name, value in found.items() if value}


def request(needs: Mapping[str, float]) -> dict[str, Any]:
    """Return the fields of a submission that ask for `needs`."""
    own = {"CPU": "entrypoint_num_cpus", "GPU": "entrypoint_num_gpus", "memory": "entrypoint_memory"}
    found: dict[str, Any] = {own[name]: whole(value) for name, value in needs.items() if name in own}
    if others := {name: whole(value) for name, value in needs.items() if name not in own}:
        found["entrypoint_resources"] = others
    return found


def whole(value: float) -> float:
    """Return `value` as an int if it is a whole number: Ray has the memory as one."""
    return int(value) if value == int(value) else value


def amount(name: str, value: Any) -> None:
    """Refuse what is neither None nor a number of pieces that Ray can count."""
    if value is None:
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0 or 0 < value < FINEST:
        raise InputError(f"{name}={value!r}: expected a number from 0, or None.")


def size_of(memory: Any) -> int | None:
    """Return bytes for a number of them or for text such as "32GiB" or "500MB"."""
    if memory is None or (isinstance(memory, int) and not isinstance(memory, bool) and memory > 0):
        return memory
    found = (
        re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]i?|)b?", memory.strip().lower())
        if isinstance(memory, str)
        else None
    )
    number = round(float(found[1]) * {**UNITS, **BINARY}[found[2]]) if found else 0
    if not number:
        raise InputError(f'memory={memory!r}: expected bytes, above 0, or text such as "32GiB".')
    return number


def named(resources: Any) -> dict[str, float]:
    """Return the cluster's own resources that are asked for, by name."""
    if not isinstance(resources, Mapping):
        raise InputError(f'resources={resources!r}: expected a dict such as {{"a100": 1}}.')
    for name, value in resources.items():
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise InputError(f"resources: {name!r} is no name of a resource.")
        if keyword := KEYWORDS.get(name.lower()):
            raise InputError(f"resources: {name!r} has a keyword of its own.", hint=f"Use {keyword}={value!r}.")
        amount(f"resources[{name!r}]", value)
        if not value:
            raise InputError(f"resources[{name!r}]={value!r}: expected a number above 0.")
    return dict(resources)
