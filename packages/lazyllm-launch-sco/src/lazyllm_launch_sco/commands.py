"""SenseCore's own programs, run by the core's means, and those that outlive this process."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from lazyllm.errors import LauncherError
from lazyllm.jobs import tools
from lazyllm.jobs.tools import Answer

WHOSE = "SenseCore"


def run(argv: Sequence[str], *, limit: float) -> Answer:
    """Run a program and return its answer; None as its code if `limit` seconds were not enough.

    Raises:
        LauncherError: it is not on PATH, or cannot be run.
    """
    return tools.run(argv, whose=WHOSE, limit=limit)


def start(argv: Sequence[str], log: Path, added: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a program that outlives this process, its output appended to `log`, with `added` variables.

    Raises:
        LauncherError: it is not on PATH, or cannot be run.
    """
    program = tools.locate(argv[0], WHOSE)
    try:
        with os.fdopen(os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), "wb") as sink:
            return subprocess.Popen(
                [program, *argv[1:]],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**os.environ, **added},
                start_new_session=True,
            )
    except OSError as error:
        raise LauncherError(f"{program} cannot be run: {error}.", hint="ulimit -u shows your limit.") from None
