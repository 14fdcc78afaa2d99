"""What a local job costs over a bare `python -I -S` that starts the same command, and how soon a failure is heard of.

    python benchmarks/local_job.py [rounds]

Prints the median of both in a warm process, their ratio (the aim is 2.5 at most) and the delay from a failed program's
last act to the JobError in the caller's hand (at most 0.2 s).
"""

from __future__ import annotations

import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

SPAWN = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL).returncode)"


def timed(action: Callable[[], object]) -> float:
    """Return how many ms `action` takes."""
    begun = time.perf_counter()
    action()
    return (time.perf_counter() - begun) * 1000


def main(rounds: int = 30) -> int:
    from lazyllm.errors import JobError
    from lazyllm_launch_local.launcher import EmptyLauncher

    logging.getLogger("lazyllm").setLevel("WARNING")
    launcher = EmptyLauncher(ngpus=0)
    command = ["/bin/true"]

    def job() -> None:
        launcher.launch(command)

    def bare() -> None:
        subprocess.run([sys.executable, "-I", "-S", "-c", SPAWN, *command], check=True)

    for action in (job, bare):
        action()
    pairs = [(timed(job), timed(bare)) for _ in range(rounds)]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))

    delays = []
    for _ in range(max(5, rounds // 3)):
        failing = launcher.makejob(["sh", "-c", "date +%s.%N; exit 3"])
        try:
            launcher.launch(failing)
        except JobError:
            delays.append((time.time() - float(failing.output())) * 1000)
    print(f"job {ours:.1f} ms, bare spawner {theirs:.1f} ms, ratio {ours / theirs:.2f}")
    print(f"failure heard of after {statistics.median(delays):.1f} ms (worst {max(delays):.1f} ms)")
    return int(ours / theirs > 2.5 or statistics.median(delays) > 200)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        os.environ["LAZYLLM_HOME"] = home
        sys.exit(main(*map(int, sys.argv[1:])))
