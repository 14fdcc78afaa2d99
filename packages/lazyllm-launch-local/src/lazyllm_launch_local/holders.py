"""Who holds a lease, in words."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lazyllm.jobs.record import Record
from lazyllm.jobs.runner import MARK, environment, processes

from .leases import Lease


@dataclass
class Holder:
    """Who has a GPU: a job as far as it can be told, the processes, another user."""

    job: str = ""
    name: str = ""
    pids: list[int] = field(default_factory=list)
    user: str = ""

    def __str__(self) -> str:
        who = [f"job {self.job} ({self.name})" if self.name else f"job {self.job}"] if self.job else []
        if self.pids:
            who.append(f"PID {', '.join(map(str, self.pids[:4]))}{' …' if len(self.pids) > 4 else ''}")
        if self.user:
            who.append(f"user {self.user}")
        return ", ".join(who) or "a process that has just ended"


def holders(found: list[Lease]) -> list[Holder]:
    """Return who holds each lease. Other users' processes are seen by root alone; their name is told then."""
    pids = _pids({lease.inode for lease in found if lease.inode})
    return [_holder(lease, [lease.pid] if lease.pid else pids.get(lease.inode, [])) for lease in found]


def _pids(inodes: set[int]) -> dict[int, list[int]]:
    held: dict[int, list[int]] = {}
    for pid in sorted(processes()) if inodes else ():
        for inode in inodes & _sockets(pid):
            held.setdefault(inode, []).append(pid)
    return held


def _sockets(pid: int) -> set[int]:
    """Return the inodes of a process's sockets, as far as this user may see them."""
    found = set()
    with suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208 (a third of the time)
            with suppress(OSError):  # closed meanwhile
                kind, _, inode = os.readlink(f"/proc/{pid}/fd/{name}").partition(":[")  # noqa: PTH115 (as above)
                if kind == "socket":
                    found.add(int(inode[:-1]))
    return found


def _holder(lease: Lease, pids: list[int]) -> Holder:
    holder = Holder(pids=pids, user="" if lease.user == os.getuid() else _name_of(lease.user))
    for pid in pids:
        record = _record_of_runner(pid)
        if record:
            holder.job, holder.name = record.id, str(record.data.get("name", ""))
            break
        holder.job = holder.job or environment(pid).get(MARK, b"").decode("ascii", "replace")
    return holder


def _record_of_runner(pid: int) -> Record | None:
    try:
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    except OSError:
        return None
    if len(argv) < 2 or not argv[-2].endswith(b"runner.py"):
        return None
    record = Record(Path(os.fsdecode(argv[-1])))
    return record if record.data.get("id") == record.id else None


def _name_of(user: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
