"""What it costs to have the core: CPU of `import lazyllm`, and the weight of a bare install.

    python benchmarks/imports.py [--peer-python /tmp/peer/bin/python]

The peer is the historic package in an environment of its own (`pip install -r benchmarks/peer.txt`). The core is
installed into a temporary environment from this tree; the peer's weight is that of its environment.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

CORE = Path(__file__).parents[1] / "packages" / "lazyllm-core"
COUNT = """
import importlib.metadata as m, os
seen = {}
for d in m.distributions():
    if d.metadata["Name"].lower() in ("pip", "setuptools", "wheel", "uv"):
        continue
    paths = [d.locate_file(f) for f in d.files or () if not str(f).endswith(".pyc")]
    seen[d.metadata["Name"].lower()] = sum(p.stat().st_size for p in paths if p.exists())
print(len(seen), sum(seen.values()))
"""


def cpu(python: str, code: str) -> float:
    """Return the CPU seconds of one fresh interpreter."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([python, "-c", code], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def import_cost(python: str, rounds: int) -> float:
    """Return the median CPU seconds that `import lazyllm` adds to a bare interpreter, the two taken in turn."""
    cpu(python, "import lazyllm")
    pairs = [(cpu(python, "import lazyllm"), cpu(python, "pass")) for _ in range(rounds)]
    return statistics.median(ours - bare for ours, bare in pairs)


def weight(python: str) -> tuple[int, float]:
    """Return the number of distributions and their MB, without .pyc files, pip and setuptools."""
    count, size = subprocess.run([python, "-c", COUNT], check=True, capture_output=True, text=True).stdout.split()
    return int(count), int(size) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", help="interpreter of an environment with the historic package")
    parser.add_argument("--rounds", type=int, default=31)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        bare = str(Path(folder, "bin", "python"))
        subprocess.run([bare, "-m", "pip", "install", "--quiet", str(CORE)], check=True)
        ours = (import_cost(sys.executable, options.rounds) * 1e3, *weight(bare))
    print(f"{'':24}{'import, CPU ms':>16}{'distributions':>15}{'MB':>8}")
    print(f"{'lazyllm-core':24}{ours[0]:16.1f}{ours[1]:15}{ours[2]:8.1f}")
    if options.peer_python:
        peer = (import_cost(options.peer_python, max(5, options.rounds // 3)) * 1e3, *weight(options.peer_python))
        print(f"{'peer':24}{peer[0]:16.1f}{peer[1]:15}{peer[2]:8.1f}")
        print(f"{'ratio (ours / peer)':24}{ours[0] / peer[0]:16.3f}{ours[1] / peer[1]:15.2f}{ours[2] / peer[2]:8.2f}")


if __name__ == "__main__":
    main()
