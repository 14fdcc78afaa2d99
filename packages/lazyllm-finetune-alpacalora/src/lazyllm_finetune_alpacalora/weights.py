"""What safetensors files say of themselves, read from their headers alone."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from lazyllm.errors import ModelError

Shapes = dict[str, tuple[int, ...]]


def tensor_shapes(folder: Path) -> Shapes:
    """Return name and shape of all tensors in a folder's safetensors files; empty if it has none.

    Raises:
        ModelError: a file that is cut off or no safetensors file, or one that the folder's index names and that lacks.
    """
    shapes: Shapes = {}
    for file in sorted(folder.glob("*.safetensors")):
        shapes.update(_header(file))
    for index in folder.glob("*.index.json"):
        _check_index(index)
    return shapes


def _header(file: Path) -> Shapes:
    size = file.stat().st_size
    with file.open("rb") as stream:
        first = stream.read(8)
        length = struct.unpack("<Q", first)[0] if len(first) == 8 else size
        if length > size - 8:
            raise ModelError(f"{file} is no whole safetensors file: its header is cut off.")
        raw = stream.read(length)
    try:
        entries = {name: entry for name, entry in json.loads(raw).items() if name != "__metadata__"}
        end = max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0) + 8 + length
        shapes = {name: tuple(int(n) for n in entry["shape"]) for name, entry in entries.items()}
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        raise ModelError(f"{file} is no safetensors file: its header cannot be read.") from None
    if end > size:
        raise ModelError(f"{file} is cut off: {size} bytes, but its header tells of {end}.")
    return shapes


def _check_index(index: Path) -> None:
    try:
        named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        missing = sorted(str(name) for name in named if not (index.parent / name).exists())
    except (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
        raise ModelError(f"{index} is no index of weight files.") from None
    if missing:
        raise ModelError(
            f"{index.parent} is incomplete: {index.name} names {', '.join(missing[:3])}"
            f"{' and more' if len(missing) > 3 else ''}, not there."
        )
