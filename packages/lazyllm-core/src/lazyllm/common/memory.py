"""How much memory a process may still take."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# by version: files of a group's limit and of what it takes, and the cache in memory.stat that the kernel can drop
_FILES = {
    2: ("memory.max", "memory.current", "inactive_file"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def free_memory(root: Path = Path("/")) -> int:
    """Return the bytes that this process may still take.

    That is what the machine has available, or what a control group (a container's, a batch job's) leaves, if less.
    `root` is where /proc and /sys are found.
    """
    return max(0, min([_machine(root), *_groups(root)]))


def _machine(root: Path) -> int:
    available = _field(root / "proc/meminfo", "MemAvailable:")
    if available is not None:
        return available * 1024
    names, page = os.sysconf_names, os.sysconf("SC_PAGE_SIZE")
    if "SC_AVPHYS_PAGES" in names:
        return os.sysconf("SC_AVPHYS_PAGES") * page
    return os.sysconf("SC_PHYS_PAGES") * page // 2  # macOS tells the whole only


def _groups(root: Path) -> Iterator[int]:
    """Yield what this process's control groups leave, each group's and that of all groups above it."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, named = line.partition(":")
        controllers, _, path = named.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        version, mount = (1, root / "sys/fs/cgroup/memory") if controllers else (2, root / "sys/fs/cgroup")
        limit_file, taken_file, cache = _FILES[version]
        # in a container the path may be the host's: the nearest folder that is there is the container's own
        for above in (Path(path.strip("/")), *Path(path.strip("/")).parents):
            limit, taken = _text(mount / above / limit_file).strip(), _text(mount / above / taken_file).strip()
            if limit.isdecimal() and taken.isdecimal():
                yield int(limit) - int(taken) + (_field(mount / above / "memory.stat", cache) or 0)


def _field(file: Path, name: str) -> int | None:
    found = (line.split() for line in _text(file).splitlines())
    return next((int(words[1]) for words in found if words[:1] == [name] and words[1].isdecimal()), None)


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
