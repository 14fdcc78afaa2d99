"""Errors of disk and memory, which libraries raise in many shapes, become a sentence."""

from __future__ import annotations

import pytest

from lazyllm_finetune_alpacalora.step import explain

OutOfMemory = type("OutOfMemoryError", (RuntimeError,), {})
WRITING = "[enforce fail at inline_container.cc:672] . unexpected pos 1050816 vs 1050704"


@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (OSError(28, "No space left on device"), ["nothing was published", "No space left"]),
        (RuntimeError(WRITING), ["is the disk full?", "1050704"]),
        (OutOfMemory("20 GiB"), ["GPU memory", "20 GiB", "micro_batch_size"]),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"), ["ran out of memory"]),
        (MemoryError(), ["ran out of memory"]),
    ],
    ids=str,
)
def test_what_an_error_means(error: Exception, parts: list[str]) -> None:
    told = explain(error)
    assert told is not None
    assert all(part in told for part in parts)


def test_errors_of_the_program_keep_their_traceback() -> None:
    assert explain(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None
    assert explain(KeyError("x")) is None
