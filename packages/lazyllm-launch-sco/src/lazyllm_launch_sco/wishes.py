"""What a launcher was asked for: checked when it is made, and once more, with the settings, before a job is made."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lazyllm.configs import config
from lazyllm.errors import InputError, near

GENERATIONS = ("auto", "srun", "srun-new", "acp")
FRAMEWORKS = {"pt": "pytorch", "tf": "tensorflow"}
"""Short names of the older tools, and what the newest tool calls the same."""
QUOTAS = ("reserved", "spot")


@dataclass(frozen=True)
class Wishes:
    """A job's size and place. The fields are explained in `ScoLauncher`."""

    partition: str | None
    workspace: str | None
    framework: str
    nnode: int
    nproc: int
    ngpus: int
    torchrun: bool
    timeout: float | None
    generation: str
    priority: str
    resource_type: str | None
    container_image: str | None
    worker_spec: str | None
    storage_mounts: tuple[str, ...]
    quota_type: str | None

    def __post_init__(self) -> None:
        for name in ("nnode", "nproc", "ngpus"):
            whole(name, getattr(self, name))
        for name in ("framework", "priority"):
            text(name, getattr(self, name), none=False)
        for name in ("partition", "workspace", "resource_type", "container_image", "worker_spec"):
            text({"workspace": "workspace_name"}.get(name, name), getattr(self, name))
        if not isinstance(self.torchrun, bool):
            raise InputError(f"torchrun={self.torchrun!r}: expected True or False.")
        choice("generation", self.generation, GENERATIONS)
        if self.quota_type is not None:
            choice("quota_type", self.quota_type, QUOTAS)
        seconds("timeout", self.timeout)

    def place(self) -> tuple[str, str]:
        """Return workspace and partition.

        Raises:
            InputError: one of them is neither given nor set.
        """
        workspace = self.workspace or config["sco.workspace"]
        if not workspace:
            raise InputError(
                "No SenseCore workspace is chosen.",
                hint="Set LAZYLLM_SCO_WORKSPACE=NAME, or pass launchers.sco(workspace_name=NAME).",
            )
        setting = config.setting("partition")
        partition = self.partition or (setting.value if setting.source != "default" else None)
        if not partition:
            raise InputError(
                "No SenseCore partition is chosen.",
                hint="Set LAZYLLM_SLURM_PART=NAME, or pass launchers.sco(partition=NAME).",
            )
        text("config['sco.workspace']", workspace)
        text("config['partition']", partition)
        return str(workspace), str(partition)

    @property
    def resources(self) -> str:
        """The kind of node and its GPUs, as `srun -r` has them."""
        kind = self.resource_type or config["sco_resource_type"]
        text("config['sco_resource_type']", kind, none=False)
        return f"{kind}.{self.ngpus}"


def whole(name: str, value: Any) -> None:
    """Refuse what is no whole number from 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name}={value!r}: expected a whole number from 1.")


def text(name: str, value: Any, *, none: bool = True) -> None:
    """Refuse what is no text that an option can carry; None is fine if `none`."""
    if value is None and none:
        return
    plain = isinstance(value, str) and value.strip() == value and value.isprintable() and not value.startswith("-")
    if not plain or not value:
        wanted = "a name as SenseCore knows it" + (", or None" if none else "")
        raise InputError(f"{name}={value!r}: expected {wanted}.")


def choice(name: str, value: Any, known: Iterable[str]) -> None:
    """Refuse what is none of `known`."""
    if value not in known:
        raise InputError(f"{name}={value!r} is none of {', '.join(known)}. {near(str(value), known)}")


def seconds(name: str, value: Any) -> None:
    """Refuse what is neither None nor a finite number of seconds above 0."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise InputError(f"{name}={value!r}: expected seconds, above 0, or None for no limit.")


def mounts(given: Any) -> tuple[str, ...]:
    """Return `VOLUME:/PATH` of what users give: a dict {volume: path}, one such text, or several."""
    if given is None:
        return ()
    if isinstance(given, Mapping):
        given = [f"{volume}:{path}" for volume, path in given.items()]
    found = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Iterable) else (given,)
    for mount in found:
        volume, _, path = mount.partition(":") if isinstance(mount, str) else ("", "", "")
        if not volume or not path.startswith("/") or "," in mount or not mount.isprintable():
            raise InputError(
                f"storage_mounts: {mount!r} is no mount.",
                hint='Expected {"VOLUME-ID": "/mnt/afs"} or "VOLUME-ID:/mnt/afs".',
            )
    return found
