"""For launchers: running a scheduler's own programs, never through a shell, never without a limit."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import LauncherError
from .runner import TOO_LONG

DEAF = 10.0
"""Seconds for which nothing more is asked after a question without an answer: the next would wait as long."""
OWN = ("LAZYLLM_JOB_ID", "LAZYLLM_JOB_DIR", "LAZYLLM_JOB_DETACHED", "LAZYLLM_JOB_RANKS")
"""Variables of the job that this process runs in, if it runs in one."""


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
        hint = TOO_LONG if error.errno == errno.E2BIG else "ulimit -u shows your limit."
        raise LauncherError(f"{program} cannot be run: {error}.", hint=hint) from None
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


class Asking:
    """Asks a scheduler by `ask` (`run`, say), but nothing for some seconds after a question that it did not answer."""

    def __init__(self, ask: Callable[..., Answer]) -> None:
        self._ask = ask
        self._again = float("-inf")

    def __call__(self, *args: Any, **kw: Any) -> Answer | None:
        """Return the answer to a query, for which `ask` gets the arguments; None if the scheduler cannot be asked."""
        if time.monotonic() < self._again:
            return None
        try:
            answer = self._ask(*args, **kw)
        except LauncherError:
            return None
        if answer.code is None:
            self._again = time.monotonic() + DEAF
            return None
        return answer


def settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the LAZYLLM_ variables of `environ` that a job may take along; secrets are among them."""
    return {name: value for name, value in environ.items() if name.startswith("LAZYLLM_") and name not in OWN}
