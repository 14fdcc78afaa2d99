"""Which tensors a model's folder holds, told without reading them."""

from __future__ import annotations

from pathlib import Path

from lazyllm.components.model_files import Shapes, read_object, tensor_shapes
from lazyllm.errors import ModelError


def folder_shapes(folder: Path) -> Shapes:
    """Return name and shape of all tensors in a folder's safetensors files; empty if it has none.

    Raises:
        ModelError: a file that is cut off or no safetensors file, or one that the folder's index names and that lacks.
    """
    shapes: Shapes = {}
    for file in sorted(folder.glob("*.safetensors")):
        shapes.update(tensor_shapes(file))
    for index in folder.glob("*.index.json"):
        _check_index(index)
    return shapes


def _check_index(index: Path) -> None:
    named = read_object(index).get("weight_map")
    if not isinstance(named, dict):
        raise ModelError(f"{index} is no index of weight files.")
    missing = sorted({str(name) for name in named.values() if not (index.parent / str(name)).exists()})
    if missing:
        raise ModelError(
            f"{index.parent} is incomplete: {index.name} names {', '.join(missing[:3])}"
            f"{' and more' if len(missing) > 3 else ''}, not there."
        )
