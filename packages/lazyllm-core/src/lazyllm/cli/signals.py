"""SIGTERM and SIGHUP end a command as Ctrl-C does: what it started is stopped first."""

from __future__ import annotations

import signal
from typing import Any, NoReturn


class Ended(KeyboardInterrupt):
    """A signal that asks for the end came."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def interrupt_at_signals() -> None:
    """Raise `Ended` where a signal would end this process at once; one that is ignored (nohup) stays ignored."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _end)


def _end(number: int, frame: Any) -> NoReturn:
    raise Ended(number)


def exit_code(error: BaseException | None) -> int:
    """Return the shell's exit code for what `error` interrupted: 128 and the signal's number."""
    return 128 + (error.number if isinstance(error, Ended) else signal.SIGINT)
