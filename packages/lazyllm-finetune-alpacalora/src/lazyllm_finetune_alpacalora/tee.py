"""A copy of all that this process prints, C libraries and tracebacks included, in a log file."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path


def tee_output(log_file: str | Path) -> None:
    """Append stdout and stderr of this process to `log_file` from now on, and still print them.

    A child process copies, so what was printed before a crash or a kill still arrives.
    """
    program = shutil.which("tee")
    if not program:
        print(f"There is no program 'tee' here: {log_file} is not written.", flush=True)  # noqa: T201
        return
    Path(log_file).parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    # a session of its own: an interrupt from the terminal must not end it before the last lines
    child = subprocess.Popen([program, "-a", str(log_file)], stdin=subprocess.PIPE, start_new_session=True)
    pipe = child.stdin
    if pipe is None:
        return
    os.dup2(pipe.fileno(), 1)
    os.dup2(pipe.fileno(), 2)
    pipe.close()
    atexit.register(_finish, child)


def _finish(child: subprocess.Popen[bytes]) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(timeout=5)
