"""The runner on the first node: `python -I -S first.py RUNNER FOLDER`, Python >= 3.8 and its standard library alone.

It tells two things better than the runner by itself could: that it is a container's, whatever name that shares, and
that it was SenseCore that ended it.
"""

# ruff: noqa: PTH120

from __future__ import annotations

import os
import sys

try:
    from lazyllm.jobs import runner
except ImportError:  # on the node there is the file alone
    sys.path.insert(0, os.path.dirname(sys.argv[1]))
    import runner  # type: ignore[no-redef,import-not-found]

    del sys.path[0]


class NodeRunner(runner.Runner):
    """One job, in a container of SenseCore's."""

    unasked = "stopped on SenseCore"
    beat = 20.0

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        name = os.uname().nodename
        # a name that no machine has: whether this runner lives is SenseCore's to say, which may start it anew
        self.status.update(node="sco/" + name, machine=name)


if __name__ == "__main__":
    os._exit(1 if runner.over(sys.argv[2]) else NodeRunner(sys.argv[2]).run())
