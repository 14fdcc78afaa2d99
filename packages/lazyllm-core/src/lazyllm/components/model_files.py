"""A model's files, looked at without torch: JSON objects, and what safetensors files tell of themselves."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from ..errors import ModelError

Shapes = dict[str, tuple[int, ...]]
LONGEST_HEADER = 100_000_000  # bytes; the format's own limit


def read_object(file: Path) -> dict[str, Any]:
    """Return the JSON object in a file; a ModelError if there is none."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{file.parent} has no {file.name}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{file} cannot be read as JSON: {error}.") from None
    if not isinstance(found, dict):
        raise ModelError(f"{file} holds no JSON object.")
    return found


def tensor_shapes(file: Path) -> Shapes:
    """Return name and shape of the tensors in a safetensors file: 8 bytes of header length, JSON, then the data.

    Raises:
        ModelError: the file is no safetensors file, or shorter than its header tells.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        first = stream.read(8)
        length = struct.unpack("<Q", first)[0] if len(first) == 8 else size
        if length > min(size - 8, LONGEST_HEADER):
            raise ModelError(f"{file} is no safetensors file, or it is cut off.")
        raw = stream.read(length)
    try:
        entries = {name: entry for name, entry in json.loads(raw).items() if name != "__metadata__"}
        end = max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0) + 8 + length
        shapes = {name: tuple(int(n) for n in entry["shape"]) for name, entry in entries.items()}
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        raise ModelError(f"{file} is no safetensors file: its header cannot be read.") from None
    if size < end:
        raise ModelError(f"{file} is cut off: {size} bytes, but its header tells of {end}.")
    return shapes
