"""The runner on a node of Ray's: `python -I -S node.py RUNNER FOLDER`, Python >= 3.8 and its standard library alone.

If Ray's process for a job dies, all that it started directly is killed. So the runner is a child in a session of its
own: it hears of that, says so, and ends its programs in order.
"""

# ruff: noqa: PTH120

from __future__ import annotations

import os
import signal
import sys

try:
    from lazyllm.jobs import runner
except ImportError:  # on the node there is the file alone
    sys.path.insert(0, os.path.dirname(sys.argv[1]))
    import runner  # type: ignore[no-redef,import-not-found]

    del sys.path[0]


SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
DIED = "Ray's own process for it was killed: its head or its node went down"


class NodeRunner(runner.Runner):
    """One job, under the process `parent`, which Ray has started; 0 if it is that itself."""

    unasked = "stopped in Ray"
    beat = 20.0

    def __init__(self, folder: str, parent: int) -> None:
        super().__init__(folder)
        self.parent = parent

    def prepare(self) -> None:
        super().prepare()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def check(self) -> None:
        if self.parent and os.getppid() != self.parent and not self.unwanted():
            raise runner.Ended(DIED)
        super().check()


def below(folder: str, parent: int) -> int:
    """Run the job as a child of `parent`, and hear of its death by a signal."""
    import ctypes

    os.setsid()
    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG
    return NodeRunner(folder, parent).run()


def main(folder: str) -> int:
    if runner.over(folder):
        return 1  # it was ended while it waited
    if not runner.LINUX:
        return NodeRunner(folder, 0).run()
    parent = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until they can be passed on, or heard
    child = os.fork()
    if not child:
        try:
            os._exit(below(folder, parent))
        finally:
            os._exit(1)
    for number in SIGNALS:
        signal.signal(number, lambda number, _: os.kill(child, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    code = os.waitpid(child, 0)[1]
    return os.WEXITSTATUS(code) if os.WIFEXITED(code) else 128 + os.WTERMSIG(code)


if __name__ == "__main__":
    os._exit(main(sys.argv[2]))
