"""What a launcher was asked for: checked when it is made, and once more, with the settings, before a job is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lazyllm.configs import config
from lazyllm.errors import InputError, near
from lazyllm.jobs import checks

from .commands import WHOSE

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
            checks.whole(name, getattr(self, name), 1)
        for name in ("framework", "priority"):
            checks.text(name, getattr(self, name), WHOSE, none=False)
        for name in ("partition", "workspace", "resource_type", "container_image", "worker_spec"):
            checks.text({"workspace": "workspace_name"}.get(name, name), getattr(self, name), WHOSE)
        checks.flag("torchrun", self.torchrun)
        choice("generation", self.generation, GENERATIONS)
        if self.quota_type is not None:
            choice("quota_type", self.quota_type, QUOTAS)
        checks.seconds("timeout", self.timeout)

    def place(self) -> tuple[str, str]:
        """Return workspace and partition.

        Raises:
            InputError: one of them is neither given nor set.
        """
        workspace, partition = self.chosen()
        if not workspace:
            raise InputError(
                "No SenseCore workspace is chosen.",
                hint="Set LAZYLLM_SCO_WORKSPACE=NAME, or pass launchers.sco(workspace_name=NAME).",
            )
        if not partition:
            raise InputError(
                "No SenseCore partition is chosen.",
                hint="Set LAZYLLM_SLURM_PART=NAME, or pass launchers.sco(partition=NAME).",
            )
        checks.text("config['sco.workspace']", workspace, WHOSE)
        checks.text("config['partition']", partition, WHOSE)
        return workspace, partition

    def chosen(self) -> tuple[str | None, str | None]:
        """Return workspace and partition as they are given or set; None for one that is neither."""
        setting = config.setting("partition")
        partition = self.partition or (setting.value if setting.source != "default" else None)
        workspace = self.workspace or config["sco.workspace"]
        return str(workspace) if workspace else None, str(partition) if partition else None

    @property
    def resources(self) -> str:
        """The kind of node and its GPUs, as `srun -r` has them."""
        kind = self.resource_type or config["sco_resource_type"]
        checks.text("config['sco_resource_type']", kind, WHOSE, none=False)
        return f"{kind}.{self.ngpus}"


def choice(name: str, value: Any, known: Iterable[str]) -> None:
    """Refuse what is none of `known`."""
    if value not in known:
        raise InputError(f"{name}={value!r} is none of {', '.join(known)}. {near(str(value), known)}")


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
