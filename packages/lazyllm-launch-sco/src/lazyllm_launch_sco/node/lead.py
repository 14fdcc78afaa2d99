"""One step on the first of several nodes: `python -I -S lead.py NUMBER WORDS PROGRAM ARGUMENT…`.

It tells the other nodes that the step begins (`nodes/step-NUMBER.json` in the job's folder), runs it, waits until they
have ended it as well, and ends with an error if it fails on one of them. Of the first WORDS items those that read
${NAME} stand for that variable.
`lead.py alone PROGRAM ARGUMENT…` becomes a program that is to know nothing of other nodes.
"""

# ruff: noqa: PTH103, PTH105, PTH108, PTH118, PTH123, PTH208, S606, T201, UP031

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

NODES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
LOOK = 0.2
SAY = 60.0
PATIENCE = 2.0
"""Seconds that a step has to end by itself after it has failed on another node."""
AWAY = 60.0
"""Seconds for which the job's folder may be out of sight: a file system that is shared has its moments."""

_there = [time.monotonic()]
"""When the folder in which the nodes answer was seen last."""


def filled(words: list[str], environ: dict[str, str]) -> list[str]:
    """Return `words` with the variables that they name."""
    found = []
    for word in words:
        name = word[2:-1] if word.startswith("${") and word.endswith("}") else ""
        if name and name not in environ:
            sys.exit("This node has no variable %s, which jobs of several nodes are given." % name)
        found.append(environ[name] if name else word)
    return found


def write_json(path: str, data: object) -> None:
    temporary = "%s.%d" % (path, os.getpid())
    with os.fdopen(os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
        json.dump(data, file)
    os.replace(temporary, path)


def begin(folder: str, number: str, argv: list[str], words: int) -> str:
    """Tell the other nodes what to run, and return the folder in which they answer."""
    nodes = os.path.join(folder, "nodes")
    os.makedirs(nodes, mode=0o700, exist_ok=True)
    for name in os.listdir(nodes):
        if name.startswith(("failed-", "done-%s-" % number)):
            os.unlink(os.path.join(nodes, name))  # of a run before the job was put back into the queue
    with open(os.path.join(folder, "status.json")) as file:
        status = json.load(file)
    told = {"run": [status["runner_pid"], status["runner_created"]], "argv": argv, "words": words}
    write_json(os.path.join(nodes, "step-%s.json" % number), told)
    return nodes


def begun(folder: str, number: str, argv: list[str], words: int) -> str:
    """Do what `begin` does, again and again if need be."""
    end = time.monotonic() + AWAY
    while True:
        try:
            return begin(folder, number, argv, words)
        except (OSError, ValueError):
            if time.monotonic() > end:
                raise
        time.sleep(LOOK)


def answers(nodes: str) -> list[str]:
    """Return the names of what the nodes have written; of a folder that is out of sight, for now, none."""
    try:
        found = os.listdir(nodes)
        _there[0] = time.monotonic()
    except OSError:
        if time.monotonic() - _there[0] > AWAY:
            raise
        return []
    return sorted(found)


def failure(nodes: str) -> dict | None:  # type: ignore[type-arg]
    """Return what another node says of its failure; None if there is none."""
    for name in answers(nodes):
        if name.startswith("failed-") and name.endswith(".json"):
            with suppress(OSError, ValueError), open(os.path.join(nodes, name)) as file:
                return json.load(file)  # type: ignore[no-any-return]
    return None


def waited_for(nodes: str, number: str) -> list[str]:
    """Return the ranks of nodes that have not ended the step."""
    there = answers(nodes)
    ranks = map(str, range(1, int(os.environ.get("WORLD_SIZE", "1"))))
    return [rank for rank in ranks if "done-%s-%s" % (number, rank) not in there]


def ended(child: subprocess.Popen[bytes]) -> None:
    """End as the step ended."""
    code = child.returncode
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    sys.exit(code if code >= 0 else 128 - code)


def lead(number: str, words: int, argv: list[str]) -> None:
    nodes = begun(os.environ["LAZYLLM_JOB_DIR"], number, argv, words)
    try:
        child = subprocess.Popen(filled(argv[:words], dict(os.environ)) + argv[words:])
    except OSError as error:
        sys.exit("The program %r cannot be started: %s" % (argv[0], error.strerror))
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, lambda *_: None)  # the runner tells the step, too; this one waits for its end
    told, code = None, 1  # type: float | None, int
    said = time.monotonic()
    while child.poll() is None or (child.returncode == 0 and waited_for(nodes, number)):
        if child.returncode is None:
            with suppress(subprocess.TimeoutExpired):
                child.wait(LOOK)
        else:
            time.sleep(LOOK)
        if child.returncode == 0 and time.monotonic() - said > SAY:
            said = time.monotonic()
            print("Waiting for the nodes of rank %s." % ", ".join(waited_for(nodes, number)), flush=True)
        failed = failure(nodes) if told is None else None
        if failed:
            told, code = time.monotonic(), failed["code"]
            print("On the node of rank %(rank)s (%(node)s): %(reason)s" % failed, flush=True)
            print(failed["output"], flush=True)
        if told is not None and (child.poll() is not None or time.monotonic() - told > PATIENCE):
            child.kill()
            child.wait()
            sys.exit(code)
    ended(child)


def main(first: str, *rest: str) -> None:
    if first != "alone":
        return lead(first, int(rest[0]), list(rest[1:]))
    for name in NODES:
        os.environ.pop(name, None)
    try:
        os.execvp(rest[0], rest)
    except OSError as error:
        sys.exit("The program %r cannot be started: %s" % (rest[0], error.strerror))


if __name__ == "__main__":
    main(*sys.argv[1:])
