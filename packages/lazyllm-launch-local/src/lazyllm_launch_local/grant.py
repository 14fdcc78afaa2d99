"""The GPUs that a job is given: chosen, leased, or refused in words."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lazyllm.common.log import LOG
from lazyllm.configs import config
from lazyllm.errors import LauncherError

from .gpus import Gpu, list_gpus, within

if TYPE_CHECKING:
    from .leases import Held, Lease

VISIBLE = "CUDA_VISIBLE_DEVICES"
PATIENCE = 0.5
"""Seconds to wait for GPUs of jobs that have said their last word and whose processes are about to end."""


@dataclass
class Grant:
    """Variables for a job, and the leases that they rest on (None: none was taken)."""

    variables: dict[str, str] = field(default_factory=dict)
    held: Held | None = None

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What to pass to the job's process."""
        return self.held.descriptors if self.held else ()

    def close(self) -> None:
        """Let go of the leases here; a job that was given them keeps them."""
        if self.held:
            self.held.close()
            self.held = None


def grant(ngpus: int | None, *, share: bool | None = None, asked: bool = True) -> Grant:
    """Lease `ngpus` GPUs, those with most free memory (None: one; 0: none, and nothing changes).

    An outer CUDA_VISIBLE_DEVICES is the choice's frame, and the job's is spelt as it is (numbers or UUIDs).

    Args:
        share: the job may share its GPUs, see `Lease.bars`; None: as `config["share_gpus"]` says.
        asked: a user named the number; otherwise that this machine has no GPU is worth a debugging line only.

    Raises:
        LauncherError: fewer GPUs are there, visible or free than wanted.
    """
    if ngpus == 0 or not config["cuda_visible"]:
        return Grant()
    outer = os.environ.get(VISIBLE)
    found = list_gpus()
    if not found:
        if ngpus:
            LOG.log(20 if asked else 10, "ngpus=%d is ignored: this machine has no GPU.", ngpus)
        return Grant()
    choice = found if outer is None else within(outer, found)
    wanted = 1 if ngpus is None else ngpus
    if not choice and (ngpus is None or not asked):
        return Grant()  # the outer setting hides all GPUs: so be it
    if not choice:
        raise LauncherError(
            f"ngpus={wanted}, but CUDA_VISIBLE_DEVICES={outer!r} hides all {len(found)} GPU(s) of this machine.",
            hint="Unset CUDA_VISIBLE_DEVICES. A job that needs no GPU: ngpus=0.",
        )
    where = "on this machine" if outer is None else f"within CUDA_VISIBLE_DEVICES={outer}"
    if wanted > len(choice):
        raise LauncherError(
            f"ngpus={wanted} is more than the {len(choice)} GPU(s) {where}.", hint=f"Ask for at most {len(choice)}."
        )
    taken, held = _take(choice, wanted, bool(config["share_gpus"] if share is None else share), where)
    variables = {VISIBLE: ",".join(gpu.name for gpu in taken)}
    if outer is None:  # NVML counts in PCI order, CUDA by speed unless told otherwise
        variables["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    if held:
        from .leases import CHAIN

        variables[CHAIN] = held.chain
    return Grant(variables, held)


def _take(choice: list[Gpu], wanted: int, share: bool, where: str) -> tuple[list[Gpu], Held | None]:
    from .leases import Held, leases, marked, turn

    end = time.monotonic() + PATIENCE
    while True:
        given = marked()
        with turn():
            try:
                present = leases()
            except OSError as error:
                LOG.warning("GPUs are chosen by free memory alone; leases cannot be seen: %s", error)
                return _best(choice, [])[:wanted], None
            tokens = {lease.token for lease in present}
            present += [lease for lease in given if lease.token not in tokens]  # their runner was killed
            barred = {lease.gpu for lease in present if lease.bars(share)}
            free = [gpu for gpu in choice if gpu.uuid not in barred]
            if len(free) >= wanted:
                taken = _best(free, present)[:wanted]
                return taken, Held([gpu.uuid for gpu in taken], share)
        if time.monotonic() > end:
            raise _refusal(choice, present, wanted, share, where)
        time.sleep(0.05)


def _best(gpus: list[Gpu], present: list[Lease]) -> list[Gpu]:
    """Sort by free memory, counted as divided among those who share it: their models may not be loaded yet."""
    from .leases import chain

    sharers = Counter(gpu for gpu, token in {(lease.gpu, lease.token) for lease in present} if token not in chain())
    return sorted(gpus, key=lambda gpu: -gpu.free / (1 + sharers[gpu.uuid]))


def _refusal(choice: list[Gpu], present: list[Lease], wanted: int, share: bool, where: str) -> LauncherError:
    from .holders import holders

    names = {gpu.uuid: f"GPU {gpu.name}" if gpu.name.isdigit() else gpu.name for gpu in choice}
    barring = [lease for lease in present if lease.gpu in names and lease.bars(share)]
    who: dict[str, list[str]] = {uuid: [] for uuid in names}
    jobs, left, strays = set(), False, set()
    for lease, holder in zip(barring, holders(barring), strict=True):
        who[lease.gpu].append(str(holder))
        if holder.user:
            continue
        if holder.job:
            jobs.add(holder.job)
            left = left or not lease.inode
        elif not lease.inode:
            strays.add(lease.pid)
    held = "; ".join(f"{names[uuid]} is held by {' and '.join(told)}" for uuid, told in who.items() if told)
    stops = [f"lazyllm stop {job}" for job in sorted(jobs)[:3]]
    hints = [f"Wait, or stop one: {', '.join(stops)}." if stops else "Wait until they end."]
    if left:
        hints.append("lazyllm reap ends what dead jobs have left behind.")
    if strays:
        hints.append(f"To end what a call has left behind: kill {' '.join(map(str, sorted(strays)[:4]))}.")
    if not share and len(names) - len({lease.gpu for lease in barring if lease.bars(True)}) >= wanted:
        hints.append(f"Or share: launchers.empty(ngpus={wanted}, share_gpus=True) or LAZYLLM_SHARE_GPUS=1.")
    hints.append("A job that needs no GPU: ngpus=0.")
    free = sum(not told for told in who.values())
    return LauncherError(
        f"ngpus={wanted} is more than the {free} free of the {len(names)} GPU(s) {where}. {held}.",
        hint=" ".join(hints),
    )
