"""Whole checkpoints: marked, and told of, so that who stops a training knows that it can go on."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from .runs import Run, mark_complete
from .step import say

SAID_EVERY = 300.0  # seconds: so it stands in the 64 KiB of a log that tell how a job ended, and is no noise in it


class Checkpoints(TrainerCallback):  # type: ignore[misc]
    """Marks each checkpoint once all of it is written; one without the mark is never resumed from.

    Says so at the first, then every five minutes, and where the training is stopped by SIGTERM.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.saved = 0
        self._step = 0
        self._said: float | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
        self.saved = self._step = state.global_step
        if state.is_world_process_zero and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._stop)

    def on_step_end(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
        self._step = state.global_step
        if self._said is not None:
            self._tell()

    def on_save(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
        if not state.is_world_process_zero:
            return
        mark_complete(Path(args.output_dir, f"checkpoint-{state.global_step}"), self.run)
        self.saved = state.global_step
        self._tell()

    def _tell(self) -> None:
        now = time.monotonic()
        if self._said is None or now - self._said >= SAID_EVERY:
            self._said = now
            say(
                f"Checkpoint at step {self.saved} saved: if it is stopped or killed, "
                "the same training started again goes on from the last one."
            )

    def on_train_end(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
        if signal.getsignal(signal.SIGTERM) == self._stop:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _stop(self, number: int, frame: Any) -> None:
        text = f"Stopped at step {self._step}, before the first checkpoint: started again, it begins anew."
        if self.saved:
            text = (
                f"Stopped at step {self._step}: the same training started again goes on "
                f"from the checkpoint at step {self.saved}."
            )
        os.write(1, f"{text}\n".encode())  # not print: the signal may have come in the middle of one
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
