"""What submitting a job through launchers.slurm costs over plain sbatch, how soon an end is heard of, how many queries.

    LAZYLLM_SLURM_PART=debug python benchmarks/slurm_submit.py [rounds]

Prints medians in a warm process: sbatch with a script on stdin, `job.start()`, their difference (the aim is 20 ms at
most); the delay from a program's last act to `launch`'s return (at most 500 ms); and the queries in three seconds
with 1, 10 and 100 jobs watched (they must not grow). Needs a cluster, such as the one that
packages/lazyllm-launch-slurm/tests/slurm_cluster.py brings up.
"""

from __future__ import annotations

import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

from local_job import timed

if TYPE_CHECKING:
    from lazyllm.jobs.job import Job
    from lazyllm.launcher import LazyLLMLaunchersBase


def submitting(launcher: LazyLLMLaunchersBase, partition: str, rounds: int) -> tuple[float, ...]:
    """Return the medians of plain sbatch and of our start, in ms; the jobs are held, so that none runs meanwhile."""
    plain = ["sbatch", "--parsable", "-H", "-p", partition, "--output=/dev/null"]
    jobs: list[Job] = []

    def theirs() -> None:
        subprocess.run(plain, input=b"#!/bin/sh\nexec /bin/true\n", check=True, capture_output=True)

    def ours() -> None:
        jobs.append(launcher.makejob(["/bin/true"]))
        jobs[-1].quiet = True
        jobs[-1].start()

    for action in (theirs, ours):
        action()
    pairs = [(timed(theirs), timed(ours)) for _ in range(rounds)]
    subprocess.run(["scancel", f"--user={os.getuid()}", "--state=PENDING"], check=True)
    for job in jobs:
        try:
            job.wait(60)
        except RuntimeError:
            continue  # cancelled, as it should be
    return tuple(statistics.median(column) for column in zip(*pairs, strict=True))


def ending(launcher: LazyLLMLaunchersBase, rounds: int) -> list[float]:
    """Return how many ms after a program's last act `launch` returned."""
    delays = []
    for _ in range(rounds):
        job = launcher.makejob(["sh", "-c", "sleep 0.2; date +%s.%N"])
        job.quiet = True
        launcher.launch(job)
        delays.append((time.time() - float(job.output())) * 1000)
    return delays


def queries(launcher: LazyLLMLaunchersBase, number: int, seconds: float = 3.0) -> int:
    """Return how many queries are made in `seconds` for so many jobs."""
    from lazyllm_launch_slurm.place import Place
    from lazyllm_launch_slurm.poller import poller

    jobs = [launcher.makejob(["/bin/true"]) for _ in range(number)]
    for job in jobs:
        job.quiet = True
        job.start()
    asking = poller(Place.here())
    before = asking.queries
    time.sleep(seconds)
    made = asking.queries - before
    for job in jobs:
        job.ask_to_end()
    for job in jobs:
        job.stop()
    return made


def main(rounds: int = 50) -> int:
    from lazyllm.configs import config
    from lazyllm_launch_slurm.launcher import SlurmLauncher

    logging.getLogger("lazyllm").setLevel("ERROR")
    held = SlurmLauncher(sync=False, options={"hold": True})
    theirs, ours = submitting(held, config["partition"], rounds)
    delays = ending(SlurmLauncher(), max(5, rounds // 5))
    counts = {number: queries(held, number) for number in (1, 10, 100)}
    print(f"plain sbatch {theirs:.1f} ms, job.start() {ours:.1f} ms, difference {ours - theirs:.1f} ms")
    print(f"end heard of after {statistics.median(delays):.0f} ms (worst {max(delays):.0f} ms)")
    print("queries in 3 s: " + ", ".join(f"{made} for {number} job(s)" for number, made in counts.items()))
    return int(ours - theirs > 20 or statistics.median(delays) > 500 or counts[100] > counts[1] + 2)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        os.environ["LAZYLLM_HOME"] = home
        sys.exit(main(*map(int, sys.argv[1:])))
