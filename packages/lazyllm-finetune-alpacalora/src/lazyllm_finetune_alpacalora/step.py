"""What both steps share: their one argument, their log, one run at a time, and errors as messages."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from .config import THREADS, RunConfig
from .places import LOCK
from .tee import tee_output


def say(line: str) -> None:
    """Print a line; of several processes only the first speaks."""
    if os.environ.get("RANK", "0") == "0":
        print(line, flush=True)  # noqa: T201


def run_step(name: str, work: Callable[[RunConfig], None]) -> int:
    """Run a step with the configuration named on the command line and return its exit code.

    Errors of ours, of the disk and of the memory become one message; any other keeps its traceback.
    """
    from lazyllm.errors import LazyLLMError

    if len(sys.argv) != 2:
        say(f"usage: python -m lazyllm_finetune_alpacalora.{name} CONFIG.json")
        return 2
    try:
        config = RunConfig.load(sys.argv[1])
        settle_ranks(config.processes if config.distributed and name == "train" else 0)
        config = settle_threads(config)
        tee_output(config.log_file)
        with _alone(config):
            work(config)
    except LazyLLMError as error:
        say(f"Error: {error}")
        return 1
    except Exception as error:
        cause = explain(error)
        if cause is None:
            raise
        say(f"Error: the {name} step {cause}")
        return 1
    return 0


def settle_ranks(processes: int) -> None:
    """Hold torchrun's variables against the number of processes that are to work together.

    With 0, this one stands alone: it forgets what it inherited of them, and sees one GPU, since the Trainer would
    spread a batch over all that it sees. A launcher of one process a node need not give LOCAL_RANK.
    """
    from lazyllm.errors import InputError

    if not processes:
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
            os.environ.pop(name, None)
        os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
        return
    found = os.environ.get("WORLD_SIZE")
    if found != str(processes):
        raise InputError(
            f"{processes} processes were to train together, but the launcher made it {found or 'one'} "
            "(the variable WORLD_SIZE). A launcher of several gives each torchrun's variables."
        )
    os.environ.setdefault("LOCAL_RANK", "0")


def settle_threads(config: RunConfig) -> RunConfig:
    """Begin with one CPU thread, unless the user or this node's scheduler has chosen a number, which stays then."""
    chosen = THREADS in os.environ and "TORCHELASTIC_RUN_ID" not in os.environ  # torchrun says 1 where nobody did
    os.environ.setdefault(THREADS, "1")
    return replace(config, auto_threads=config.auto_threads and not chosen)


def explain(error: Exception) -> str | None:
    """Return what an error of the disk or the memory means, None for any other: libraries raise them as all sorts."""
    from safetensors import SafetensorError

    text = str(error)
    if "inline_container" in text or "PytorchStreamWriter" in text:  # how torch.save fails
        return f"could not write, and nothing was published: is the disk full?\n  {text}"
    if isinstance(error, (OSError, SafetensorError)):
        return f"stopped, and nothing was published: {text}"
    if type(error).__name__ == "OutOfMemoryError":
        advice = "Lower micro_batch_size or cutoff_len, or set gradient_checkpointing=True."
        return f"ran out of GPU memory, and nothing was published: {text}\n  {advice}"
    if isinstance(error, MemoryError) or "can't allocate memory" in text:
        return f"ran out of memory, and nothing was published: {text}\n  Lower micro_batch_size or cutoff_len."
    return None


@contextmanager
def _alone(config: RunConfig) -> Iterator[None]:
    """Hold the folder's lock; the kernel frees it when the process dies, however it dies."""
    from lazyllm.errors import InputError

    if os.environ.get("RANK", "0") != "0":
        yield
        return
    Path(config.root).mkdir(parents=True, exist_ok=True)
    with Path(config.root, LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"Another training is at work in {config.root}.", hint="lazyllm ps shows it.") from None
        yield
