"""How many CPU threads the model may use."""

from __future__ import annotations

import os
from pathlib import Path


def default_threads() -> int:
    """Return OMP_NUM_THREADS if it is set, else the physical cores that this process may use, less one.

    One core is left to HTTP and tokenizing. A thread too many costs far more than one too few: OpenMP's threads wait
    for each other in every operation (24 tokens of a 78.6 M model on 2 busy cores: 27 tok/s with one thread, 6 with
    two, 20 with two that sleep instead of spinning, OMP_WAIT_POLICY=PASSIVE, which the server sets).
    """
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    return max(1, min(len({_core(cpu) for cpu in allowed}), _quota()) - 1)


def _core(cpu: int) -> str:
    """Return a name of the physical core that `cpu` belongs to: hyper-threads of one core share it."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text().strip()
    except OSError:
        return str(cpu)


def _quota() -> int:
    try:
        most, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, int(most) // int(period)) if most != "max" else 1 << 16
    except (OSError, ValueError):
        return 1 << 16
