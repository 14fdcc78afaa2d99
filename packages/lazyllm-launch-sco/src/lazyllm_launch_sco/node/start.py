"""What a container of SenseCore's starts: `python -I -S start.py RUNNER_ARGV…`, the job's folder being its last item.

On the first node it runs the job's runner (first.py), on the others worker.py. It passes a signal on once only,
whoever sends it and however often, and ends the job as well when its record says so: the scheduler may be slow to, or
not do it at all.
"""

# ruff: noqa: PTH100, PTH110, PTH111, PTH118, PTH120, PTH123, T201, UP031

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys

LOOK = 0.5
"""Seconds between two looks at the wish to end the job, which is a file in its folder."""


def environment(told: dict, environ: dict[str, str]) -> None:  # type: ignore[type-arg]
    """Give `environ` what the job was promised: the working folder for Python, and ~/.local/bin."""
    paths = [*told["pythonpath"], *environ.get("PYTHONPATH", "").split(os.pathsep)]
    environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path for path in paths if path))
    local = os.path.join(os.path.expanduser("~"), ".local", "bin")
    environ["PATH"] = os.pathsep.join([local, environ.get("PATH") or os.defpath])


def address(folder: str, runner: str) -> str:
    """Return this node's address, found as the runner beside whose file it stands finds it."""
    with open(os.path.join(folder, "job.json")) as file:
        home = json.load(file).get("node", "")
    sys.path.insert(0, os.path.dirname(runner))
    try:
        import runner as found  # type: ignore[import-not-found]

        ip = str(found.node_address(home))
        return os.uname().nodename if ip == "0.0.0.0" else ip  # noqa: S104 (compared, not bound)
    finally:
        del sys.path[0]


def wished(folder: str) -> int:
    """Return how urgently the record says that the job should end: not at all, in order (1), at once (2)."""
    if not os.path.exists(os.path.join(folder, "stopping")):
        return 0
    return 2 if os.path.exists(os.path.join(folder, "sco-kill")) else 1


def watch(argv: list[str], folder: str) -> int:
    """Run `argv` to its end and return its exit code."""
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    heard = []  # type: list[int]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: heard.append(number))
    signal.signal(signal.SIGCHLD, lambda *_: None)
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
    told = 0
    while child.poll() is None:
        wish = max(wished(folder), min(len(heard), 1))
        while told < wish:
            told += 1
            child.send_signal(signal.SIGTERM if told == 1 else signal.SIGINT)
        if select.select([reader], [], [], LOOK)[0]:
            os.read(reader, 4096)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def main(argv: list[str]) -> int:
    folder, runner = argv[-1], argv[-2]
    with open(os.path.join(folder, "sco.json")) as file:
        told = json.load(file)
    environment(told, os.environ)  # type: ignore[arg-type]
    alone = told["nodes"] == 1  # then RANK, if there is any, was somebody else's
    if not alone and os.environ.get("RANK", "0") not in ("", "0"):
        worker = os.path.join(os.path.dirname(os.path.abspath(__file__)), "worker.py")
        return watch([sys.executable, "-I", "-S", worker, folder], folder)
    print("LAZYLLMIP %s" % address(folder, runner), flush=True)
    beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), "first.py")
    return watch([*argv[:-2], beside, *argv[-2:]], folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
