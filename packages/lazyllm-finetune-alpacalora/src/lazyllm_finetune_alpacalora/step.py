"""What both steps share: their one argument, their log, one run at a time, and errors as messages."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .config import RunConfig
from .tee import tee_output


def say(line: str) -> None:
    """Print a line; of several processes only the first speaks."""
    if os.environ.get("RANK", "0") == "0":
        print(line, flush=True)  # noqa: T201


def run_step(name: str, work: Callable[[RunConfig], None]) -> int:
    """Run a step with the configuration named on the command line and return its exit code.

    Errors of ours, of the disk and of the memory become one message; any other keeps its traceback.
    """
    from safetensors import SafetensorError

    from lazyllm.errors import LazyLLMError

    if len(sys.argv) != 2:
        say(f"usage: python -m lazyllm_finetune_alpacalora.{name} CONFIG.json")
        return 2
    try:
        config = RunConfig.load(sys.argv[1])
        tee_output(config.log_file)
        with _alone(config):
            work(config)
    except LazyLLMError as error:
        say(f"Error: {error}")
        return 1
    except (OSError, SafetensorError) as error:
        say(f"Error: the {name} step stopped, and nothing was published: {error}")
        return 1
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":
            raise
        say(f"Error: the {name} step ran out of GPU memory, and nothing was published: {error}")
        say("  Lower micro_batch_size or cutoff_len, or set gradient_checkpointing=True.")
        return 1
    return 0


@contextmanager
def _alone(config: RunConfig) -> Iterator[None]:
    """Hold the folder's lock; the kernel frees it when the process dies, however it dies."""
    from lazyllm.errors import InputError

    if os.environ.get("RANK", "0") != "0":
        yield
        return
    Path(config.root).mkdir(parents=True, exist_ok=True)
    with Path(config.root, ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"Another training is at work in {config.root}.", hint="lazyllm ps shows it.") from None
        yield
