"""What the launcher keeps in a job's record, for whoever adopts the job from there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lazyllm.jobs.record import Record
from lazyllm.jobs.runner import write_json

NOTE = "ray.json"

_kept: dict[str, dict[str, Any]] = {}


def write(record: Record, url: str, whole: bool, queue_timeout: float | None, session: str) -> None:
    """Keep where the job is, in which `session` of the cluster's, and how long it may wait there.

    `whole`: nothing was left out of the URL.
    """
    kept = {"address": url, "whole": whole, "queue_timeout": queue_timeout, "session": session}
    write_json(str(record.folder / NOTE), kept)


def read(record: Record) -> dict[str, Any]:
    """Return what was kept, which never changes; empty if nothing was."""
    key = str(record.folder)
    if key not in _kept and (found := _read(record.folder / NOTE)):
        _kept[key] = found
    return _kept.get(key, {})


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
