"""What a training shows: progress lines and train_log.jsonl."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from lazyllm.errors import ModelError

from .publish import write_text

LINES_PER_SECOND = 2


class Progress(TrainerCallback):  # type: ignore[misc]
    """Prints `[progress] train 12/40 loss=… tok/s=… eta=…s saved=10` and appends a JSON line for each logged step.

    `saved` is the step of the last checkpoint.
    """

    def __init__(self, log: Path, started: float) -> None:
        self.log = log
        self.started = started
        self.to_first_step = 0.0
        self.tokens = 0
        self.seconds = 0.0
        self._loss: float | None = None
        self._saved = 0
        self._printed = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
        self._begin, self._first = time.monotonic(), state.global_step
        self._saved = self._first
        self._tokens_before = int(state.num_input_tokens_seen)
        self._begun = False

    def on_step_end(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
        now = time.monotonic()
        self.to_first_step = self.to_first_step or time.time() - self.started
        self.seconds = now - self._begin
        self.tokens = int(state.num_input_tokens_seen) - self._tokens_before
        last = state.global_step >= state.max_steps
        if last:
            control.should_log = True
        if state.is_world_process_zero and (last or now - self._printed >= 1 / LINES_PER_SECOND):
            self._printed = now
            left = (state.max_steps - state.global_step) * self.seconds / (state.global_step - self._first)
            loss = f"loss={self._loss:.4f} " if self._loss is not None else ""
            saved = f" saved={self._saved}" if self._saved else ""
            done = f"{state.global_step}/{state.max_steps}"
            print(f"[progress] train {done} {loss}tok/s={self._rate():.0f} eta={left:.0f}s{saved}", flush=True)  # noqa: T201

    def on_save(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
        self._saved = state.global_step

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kw: Any) -> None:
        logs = logs or {}
        for name in ("loss", "eval_loss"):
            if name in logs and not math.isfinite(logs[name]):
                raise ModelError(
                    f"{name} is {logs[name]} at step {state.global_step}: training has diverged, nothing is published.",
                    hint="Lower learning_rate.",
                )
        if not state.is_world_process_zero or not {"loss", "eval_loss"} & set(logs):
            return
        line = {"step": state.global_step, "total": state.max_steps, "epoch": round(float(state.epoch or 0), 4)}
        if "loss" in logs:
            self._loss = float(logs["loss"])
            line |= {
                "loss": self._loss,
                "lr": float(logs["learning_rate"]),
                "tokens_per_second": round(self._rate(), 1),
            }
        if "eval_loss" in logs:
            line["eval_loss"] = float(logs["eval_loss"])
        line |= {"seconds": round(time.monotonic() - self._begin, 3), "time": round(time.time(), 3)}
        self._append(line)

    def _append(self, line: dict[str, Any]) -> None:
        """Add a line to the log; the first one takes the place of what was logged after the step it goes on from."""
        if not self._begun:
            kept = [old for old in read_log(self.log) if old["step"] <= self._first] if self._first else []
            write_text(self.log, "".join(json.dumps(old) + "\n" for old in (*kept, line)))
            self._begun = True
            return
        with self.log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def _rate(self) -> float:
        return self.tokens / self.seconds if self.seconds else 0.0


def read_log(log: Path) -> list[dict[str, Any]]:
    """Return the lines of a train_log.jsonl; one cut off by a kill is left out."""
    lines = []
    for text in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines
