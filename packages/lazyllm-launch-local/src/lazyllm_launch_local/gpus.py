"""Which GPUs of this machine a job may see."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from lazyllm.common.log import LOG
from lazyllm.configs import config
from lazyllm.errors import LauncherError


@dataclass(frozen=True)
class Gpu:
    """One GPU: its number in PCI order, its UUID, its free memory in bytes."""

    index: int
    uuid: str
    free: int


def list_gpus() -> list[Gpu]:
    """Return the machine's GPUs; none without a driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [_read(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        LOG.warning("GPUs cannot be listed: %s", error)
        return []
    finally:
        pynvml.nvmlShutdown()


def _read(pynvml: Any, index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    uuid = pynvml.nvmlDeviceGetUUID(handle)
    return Gpu(index, uuid.decode() if isinstance(uuid, bytes) else uuid, pynvml.nvmlDeviceGetMemoryInfo(handle).free)


def visible_devices(ngpus: int | None, asked: bool = True) -> dict[str, str]:
    """Return the variables that let a job see `ngpus` GPUs, those with most free memory (None: one; 0: no change).

    An outer CUDA_VISIBLE_DEVICES is the choice's frame, and the job's is spelt as it is (numbers or UUIDs).

    Args:
        asked: a user named the number; otherwise that this machine has no GPU is worth a debugging line only.

    Raises:
        LauncherError: fewer GPUs are there, or visible, than wanted.
    """
    if ngpus == 0 or not config["cuda_visible"]:
        return {}
    outer = os.environ.get("CUDA_VISIBLE_DEVICES")
    found = list_gpus()
    if not found:
        if ngpus:
            LOG.log(20 if asked else 10, "ngpus=%d is ignored: this machine has no GPU.", ngpus)
        return {}
    choice = [(gpu.free, str(gpu.index)) for gpu in found] if outer is None else _within(outer, found)
    wanted = 1 if ngpus is None else ngpus
    if ngpus is None and not choice:
        return {}  # the outer setting hides all GPUs: so be it
    if wanted > len(choice):
        where = "on this machine" if outer is None else f"within CUDA_VISIBLE_DEVICES={outer}"
        raise LauncherError(
            f"ngpus={wanted} is more than the {len(choice)} GPU(s) {where}.", hint=f"Ask for at most {len(choice)}."
        )
    taken = [name for _, name in sorted(choice, key=lambda pair: -pair[0])[:wanted]]
    # NVML counts in PCI order, CUDA by speed unless told otherwise
    order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"} if outer is None else {}
    return {**order, "CUDA_VISIBLE_DEVICES": ",".join(taken)}


def _within(outer: str, gpus: list[Gpu]) -> list[tuple[int, str]]:
    """Return (free memory, name) of what an outer CUDA_VISIBLE_DEVICES shows; an invalid name ends it, as for CUDA."""
    shown = []
    for name in filter(None, (part.strip() for part in outer.split(","))):
        if name.startswith("MIG"):
            shown.append((0, name))  # a part of a GPU, which its owner has chosen already
            continue
        match = [gpu for gpu in gpus if name == str(gpu.index) or (not name.isdigit() and gpu.uuid.startswith(name))]
        if len(match) != 1:
            break
        shown.append((match[0].free, name))
    return shown
