"""Shows a job's lines to who started it: `[progress]` lines as a bar on a terminal, elsewhere one now and then."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ..common.log import LOG

PROGRESS = re.compile(r"\[progress\] (\S+) (\d+)/(\d+)(?: (.*))?$")
STAMP = re.compile(r"(\d{4}-\d\d-\d\d[ T])?\d\d:\d\d:\d\d([.,]\d+)?\s+(-\s+)?(INFO\s+)?")
"""A program's own time stamp: the log has one already."""
EVERY = 5.0
"""Seconds between two progress lines where there is no terminal."""
FEW = 10
"""Steps that are so few that each of them is news."""


class Display:
    """Lines of one job. Whatever is shown goes to stderr, through the log or a bar."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._bar: Any = None
        self._tasks: dict[str, Any] = {}
        self._plain = sys.stderr is None or not sys.stderr.isatty()
        self._lost = False
        self._shown = 0.0
        self._held = self._name = ""

    def line(self, text: str) -> None:
        """Show a line."""
        self._try(self._show, text)

    def _try(self, show: Callable[[str], None], text: str) -> None:
        """Show nothing more once that fails (a terminal that is gone): the job and its log go on."""
        if not self._lost:
            try:
                show(text)
            except Exception:
                self._lost = True

    def _show(self, text: str) -> None:
        match = PROGRESS.match(text)
        if match is None:
            self._write(text)
        elif self._plain or not self._draw(*match.groups()):
            few = int(match[3]) <= FEW or match[2] == match[3]
            self._throttle(text, now=few or match[1] != self._name)
            self._name = match[1]

    def close(self) -> None:
        """Show what was held back and take the bar down."""
        if self._held:
            self._try(self._write, self._held)
            self._held = ""
        bar, self._bar = self._bar, None
        if bar is not None:
            with suppress(Exception):
                bar.stop()

    def _write(self, text: str) -> None:
        if self._bar is None:
            stamp = STAMP.match(text)
            LOG.info("%s: %s", self.name, text[stamp.end() :] if stamp else text)
        else:
            self._bar.console.print(f"{self.name}: {text}", markup=False, highlight=False, soft_wrap=True)

    def _throttle(self, text: str, now: bool) -> None:
        when = time.monotonic()
        if now or when - self._shown >= EVERY:
            self._shown, self._held = when, ""
            self._write(text)
        else:
            self._held = text

    def _draw(self, name: str, done: str, total: str, facts: str | None) -> bool:
        """Bring the bar up to date; False if there can be none (another job's bar is on this terminal)."""
        if self._bar is None and not self._open():
            return False
        now = {"completed": int(done), "total": int(total), "facts": facts or ""}
        if name in self._tasks:
            self._bar.update(self._tasks[name], **now)
        else:
            self._tasks[name] = self._bar.add_task(f"{self.name} {name}", **now)
        return True

    def _open(self) -> bool:
        from rich.console import Console
        from rich.errors import LiveError
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}", markup=False),
        )
        bar = Progress(*columns, console=Console(stderr=True))
        try:
            bar.start()
        except LiveError:
            self._plain = True
            return False
        self._bar = bar
        return True
