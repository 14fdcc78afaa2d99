"""A query and the files that belong to it as one string, which any module can hand on."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from ...errors import InputError

PREFIX = "<lazyllm-query>"


Path = str | os.PathLike[str]


def encode_query_with_filepaths(query: str | None = None, files: Path | Sequence[Path] | None = None) -> str:
    """Return `<lazyllm-query>` and the JSON of `{"query": …, "files": […]}`; without files, the query alone.

    Raises:
        InputError: `query` is no string, or `files` are no paths.
    """
    query = "" if query is None else query
    if not isinstance(query, str):
        raise InputError(f"query is text, not {type(query).__name__}.")
    paths = _paths([files] if isinstance(files, (str, os.PathLike)) else files or ())
    return PREFIX + json.dumps({"query": query, "files": paths}) if paths else query


def decode_query_with_filepaths(query_files: str) -> dict[str, Any] | str:
    """Return the `{"query": …, "files": […]}` that was encoded; any other text comes back as it is.

    Raises:
        InputError: the text begins with `<lazyllm-query>` and what follows is no such object.
    """
    if not isinstance(query_files, str):
        raise InputError(f"An encoded query is text, not {type(query_files).__name__}.")
    text = query_files.strip()
    if not text.startswith(PREFIX):
        return query_files
    try:
        found = json.loads(text[len(PREFIX) :])
    except (ValueError, RecursionError) as error:
        raise InputError(f"What follows {PREFIX} is no JSON: {error}. It begins {text[:80]!r}.") from error
    if not isinstance(found, dict):
        raise InputError(f"What follows {PREFIX} is a JSON {type(found).__name__}, not an object with query and files.")
    query, files = found.get("query", ""), found.get("files", [])
    if not isinstance(query, str) or not isinstance(files, list):
        raise InputError(f"What follows {PREFIX} has no text under 'query' or no list under 'files'.")
    return {**found, "query": query, "files": _paths(files)}


def _paths(files: Any) -> list[str]:
    """Return `files`, all of them paths, as strings."""
    if isinstance(files, (list, tuple)):
        paths = [os.fspath(path) if isinstance(path, os.PathLike) else path for path in files]
        if all(isinstance(path, str) for path in paths):
            return paths
    raise InputError(f"files are a path or a list of paths, not {files!r:.80}.")
