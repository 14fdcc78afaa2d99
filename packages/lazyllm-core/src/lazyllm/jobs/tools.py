"""For launchers: running a scheduler's own programs, never through a shell, never without a limit."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import LauncherError


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program said; `code` is None if it did not end in time, and `err` ends with that."""

    code: int | None
    out: str
    err: str = ""

    @property
    def ok(self) -> bool:
        return self.code == 0

    @property
    def words(self) -> str:
        """What it complained of: its last lines, as one of at most 500 characters."""
        lines = (line.strip() for line in (self.err.strip() or self.out.strip()).splitlines()[-8:])
        return "; ".join(line for line in lines if line)[-500:] or f"exit code {self.code}"


def locate(name: str, whose: str, path: str | None = None) -> str:
    """Return where the program `name` of the scheduler `whose` is; a LauncherError if it is not on PATH."""
    if program := shutil.which(name, path=path):
        return program
    raise LauncherError(
        f"{whose}'s {name!r} is not on PATH, so this machine cannot submit or watch jobs.",
        hint=f"Run where {whose}'s commands are, put their folder on PATH, or use launchers.empty.",
    )


def run(
    argv: Sequence[str], *, whose: str, stdin: str = "", limit: float = 10.0, env: Mapping[str, str] | None = None
) -> Answer:
    """Run a program of the scheduler `whose`; its answer's code is None if `limit` seconds were not enough.

    Raises:
        LauncherError: it is not on PATH, or cannot be run.
    """
    environ = dict(os.environ if env is None else env)
    program = locate(argv[0], whose, environ.get("PATH"))
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(
            [program, *argv[1:]], stdin=pipe, stdout=pipe, stderr=pipe, env=environ, start_new_session=True
        )
    except OSError as error:
        raise LauncherError(f"{program} cannot be run: {error}.", hint="ulimit -u shows your limit.") from None
    try:
        out, err = process.communicate(stdin.encode("utf-8", "surrogateescape"), limit)
    except BaseException as stopped:
        os.killpg(process.pid, signal.SIGKILL)  # with what it has started
        out, err = process.communicate()
        if not isinstance(stopped, subprocess.TimeoutExpired):
            raise
        return Answer(None, _text(out), f"{_text(err)}\n{argv[0]} gave no answer within {limit:g} s".lstrip())
    return Answer(process.returncode, _text(out), _text(err))


def _text(said: bytes) -> str:
    return said.decode("utf-8", "replace")
