"""Leases of GPUs: names that the kernel keeps for as long as a process of the job holds them.

A lease is an abstract Unix socket, bound to a name that tells the GPU's UUID, whether it is shared, the user and the
lease's token. Its descriptor is passed to the job's runner, from there to the programs that the runner starts, and
closed here: the name goes when the last of them is dead, however they died. `/proc/net/unix` is the table of all
leases, for all users, and one more name, bound for milliseconds, makes looking and leasing one act.

Why not a locked file a GPU: a file can be removed while it is locked (by a cleaner of temporary files), needs a folder
that all users may write to, and is held by one party, while a GPU may carry several leases: of jobs that share it, and
of a job with those that it starts itself.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from socket import AF_UNIX, SOCK_STREAM, socket
from weakref import WeakSet

from lazyllm.errors import LauncherError
from lazyllm.jobs.runner import environment

PREFIX, TURN = "lazyllm-gpu:", "lazyllm-gpus"
TABLE = "/proc/net/unix"
CHAIN = "LAZYLLM_GPU_LEASES"
"""The variable that names the leases that a process stands under, the outermost first: TOKEN:GPU+GPU,TOKEN:GPU."""


@dataclass(frozen=True)
class Lease:
    """One GPU of one job. `inode` is its socket's, 0 if that is gone; `pid` is then who goes on without it."""

    gpu: str
    shared: bool
    user: int
    token: str
    inode: int
    pid: int = 0

    def bars(self, share: bool) -> bool:
        """Say whether a further job of this process may not have this GPU.

        A job may stand on the GPUs of the one that it was started in. One that shares may also join others that share
        and those of its own user; nobody is made to share with another user.
        """
        return self.token not in chain() and not (share and (self.shared or self.user == os.getuid()))


class Names:
    """Names that this process has bound; a forked child keeps them only if the thread that forks is the `heir`."""

    def __init__(self, *names: str) -> None:
        self.heir = 0
        self._sockets: list[socket] = []
        _open.add(self)
        try:
            for name in names:
                self._sockets.append(socket(AF_UNIX, SOCK_STREAM))
                self._sockets[-1].bind("\0" + name)
        except BaseException:
            self.close()
            raise

    @property
    def descriptors(self) -> tuple[int, ...]:
        return tuple(each.fileno() for each in self._sockets)

    def close(self) -> None:
        """Let go; whoever was passed the descriptors keeps the names. Twice is as good as once."""
        _open.discard(self)
        for each in self._sockets:
            each.close()


class Held(Names):
    """The leases of one job, to be closed here once the job has them."""

    def __init__(self, gpus: list[str], shared: bool) -> None:
        self.token = os.urandom(4).hex()
        how = "shared" if shared else "alone"
        super().__init__(*(f"{PREFIX}{gpu}:{how}:{os.getuid()}:{self.token}" for gpu in gpus))
        outer = os.environ.get(CHAIN)
        self.chain = f"{outer + ',' if outer else ''}{self.token}:{'+'.join(gpus)}"
        """The value of the variable CHAIN for the job."""


def chain() -> list[str]:
    """Return the tokens of the leases that this process stands under."""
    return [part.partition(":")[0] for part in os.environ.get(CHAIN, "").split(",") if part]


def leases() -> list[Lease]:
    """Return all leases on this machine (in a container: in its network namespace).

    Raises:
        OSError: the kernel's table cannot be read.
    """
    found: dict[int, Lease] = {}
    for _ in range(2):  # it comes in pieces, and a row can be missed while another one goes
        with open(TABLE, encoding="latin-1") as file:  # noqa: PTH123 (pathlib reads no lines)
            for row in file:
                if PREFIX in row and (lease := _parse(row.split())):
                    found[lease.inode] = lease
    return list(found.values())


def _parse(fields: list[str]) -> Lease | None:
    if len(fields) != 8 or not fields[7].startswith("@" + PREFIX):
        return None
    parts = fields[7].removeprefix("@" + PREFIX).rsplit(":", 3)
    if len(parts) != 4 or not parts[2].isdecimal():
        return None
    gpu, how, user, token = parts
    return Lease(gpu, how == "shared", int(user), token, int(fields[6]))


def marked() -> list[Lease]:
    """Return what processes on this machine were given, whether their lease still stands or not.

    A job's processes that close inherited descriptors outlive its lease if its runner is killed. Only processes that
    this user may look into are found.
    """
    found = []
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):  # noqa: PTH208 (a third of the time)
        told = environment(pid).get(CHAIN.encode())
        if told:
            token, _, gpus = told.decode("latin-1").rpartition(",")[2].partition(":")
            with suppress(OSError):
                user = os.stat(f"/proc/{pid}").st_uid  # noqa: PTH116 (as above)
                found += [Lease(gpu, False, user, token, 0, pid) for gpu in gpus.split("+")]
    return found


@contextmanager
def turn(patience: float = 10.0) -> Iterator[None]:
    """Be the only process on this machine that takes leases."""
    end = time.monotonic() + patience
    while (mine := _try_turn()) is None:
        if time.monotonic() > end:
            raise LauncherError(
                f"No GPU can be leased: another process has been choosing GPUs for {patience:g} s.",
                hint=f"It may have been stopped (Ctrl-Z). As root, ss -xap | grep {TURN} names it.",
            )
        time.sleep(0.005)
    try:
        yield
    finally:
        mine.close()


def _try_turn() -> Names | None:
    try:
        return Names(TURN)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return None


_open: WeakSet[Names] = WeakSet()


def _after_fork() -> None:
    """Drop in a forked child what was not meant for it: it may live longer than the job."""
    for names in list(_open):
        if names.heir != threading.get_ident():
            names.close()


os.register_at_fork(after_in_child=_after_fork)
