"""The runner on a node: `python -I -S node.py RUNNER FOLDER`, Python >= 3.8 and its standard library alone.

To the runner of every job it adds signs of life in the job's record, and that it was the scheduler that ended it.
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
    """One job, under a scheduler."""

    unasked = "stopped by its scheduler"
    beat = 20.0


if __name__ == "__main__":
    os._exit(1 if runner.over(sys.argv[2]) else NodeRunner(sys.argv[2]).run())
