"""What a job is called and how its command is shown."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from .command import Command

PYTHON = re.compile(r"(python|pypy)[\d.]*(\.exe)?")
LONGEST = 16
"""Characters that stand before each line of a job's output, at most."""


def name_of(cmd: Command) -> str:
    """Return the command's title, or its program: of a Python interpreter the module or script that it runs."""
    if cmd.title:
        return cmd.title if len(cmd.title) <= 60 else cmd.title[:59] + "…"
    first, *rest = map(str, cmd.steps[0].argv)
    name = os.path.basename(first)  # noqa: PTH119 (a name, not a path)
    if PYTHON.fullmatch(name):
        name = _python_program(rest) or name
    return name or "job"


def _python_program(argv: Sequence[str]) -> str | None:
    """Return the module or script among an interpreter's arguments; None for code and standard input."""
    items = iter(argv)
    for item in items:
        if item in ("-W", "-X", "--check-hash-based-pycs"):
            next(items, None)
        elif item.startswith("--") or item.startswith(("-W", "-X")):
            continue
        elif not item.startswith("-"):
            return os.path.basename(item)  # noqa: PTH119
        elif item == "-" or "c" in item.partition("m")[0]:
            return None
        elif "m" in item:
            return item.partition("m")[2] or next(items, None)
    return None


def label_of(name: str, job_id: str, cmd: Command | None) -> str:
    """Return what stands before each line of a job's output: the first word of its name, or else its id."""
    word = name.split()[0] if name.split() else ""
    shell = cmd is not None and cmd.steps[0].argv[:2] == ("bash", "-c") and cmd.title == cmd.steps[0].argv[2]
    several_words = shell and word != name
    return word if word and len(word) <= LONGEST and not several_words else job_id


def text_of(cmd: Command) -> str:
    """Return the author's own text of a shell command, or else the command line as one would type it."""
    argv = cmd.steps[0].argv
    shell = len(cmd.steps) == 1 and len(argv) == 3 and argv[:2] == ("bash", "-c")
    if shell and not cmd.env:
        return str(argv[2]).encode("utf-8", "backslashreplace").decode()
    return cmd.show().replace("\n", "\n  ")
