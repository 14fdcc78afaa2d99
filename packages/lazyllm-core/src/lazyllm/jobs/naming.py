"""What a job is called and how its command is shown."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from itertools import pairwise

from .command import Command

PYTHON = re.compile(r"(python|pypy)[\d.]*(\.exe)?")
MODULE, CODE = re.compile(r"-[A-Za-z]*m"), re.compile(r"-[A-Za-z]*c")
LONGEST = 16
"""Characters that stand before each line of a job's output, at most."""


def name_of(cmd: Command) -> str:
    """Return the command's title, or its program: of a Python interpreter the module or script that it runs."""
    if cmd.title:
        return cmd.title if len(cmd.title) <= 60 else cmd.title[:59] + "…"
    argv = [os.path.basename(str(item)) for item in cmd.steps[0].argv]  # noqa: PTH119 (names, not paths)
    return (_python_program(argv) if PYTHON.fullmatch(argv[0]) else argv[0]) or "job"


def _python_program(argv: Sequence[str]) -> str:
    """Return the module or script that an interpreter runs, as far as it can be told; else the interpreter's name."""
    for option, word in pairwise(argv):
        if CODE.fullmatch(option):
            break
        if MODULE.fullmatch(option) or word.endswith(".py"):
            return word
    return argv[0]


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
