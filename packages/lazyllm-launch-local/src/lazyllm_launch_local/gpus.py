"""The GPUs of this machine, and those that a job may be given."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import Any

from lazyllm.common.log import LOG


@dataclass(frozen=True)
class Gpu:
    """One GPU: how CUDA_VISIBLE_DEVICES spells it, its UUID, its free memory in bytes (0: not known)."""

    name: str
    uuid: str
    free: int


def list_gpus() -> list[Gpu]:
    """Return the machine's GPUs in PCI order; none without a driver."""
    if "pynvml" not in sys.modules and not _library_there():
        return []
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


def _library_there() -> bool:
    """Say whether pynvml would find its library; importing it costs ten times as much."""
    if not sys.platform.startswith("linux"):
        return False
    import ctypes

    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return False
    return True


def _read(pynvml: Any, index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    uuid = pynvml.nvmlDeviceGetUUID(handle)
    uuid = uuid.decode() if isinstance(uuid, bytes) else uuid
    return Gpu(str(index), uuid, pynvml.nvmlDeviceGetMemoryInfo(handle).free)


def within(outer: str, gpus: list[Gpu]) -> list[Gpu]:
    """Return what CUDA_VISIBLE_DEVICES=`outer` shows, spelt as there; an invalid name ends the list, as for CUDA.

    Numbers are taken for PCI order, NVML's. A part of a GPU (MIG) goes by the name that it is given there.
    """
    shown: dict[str, Gpu] = {}
    for name in filter(None, (part.strip() for part in outer.split(","))):
        if re.fullmatch(r"MIG-[\w/-]{1,60}", name, re.ASCII):
            shown.setdefault(name, Gpu(name, name, 0))
            continue
        match = [gpu for gpu in gpus if name == gpu.name or (not name.isdigit() and gpu.uuid.startswith(name))]
        if len(match) != 1:
            break
        shown.setdefault(match[0].uuid, Gpu(name, match[0].uuid, match[0].free))
    return list(shown.values())
