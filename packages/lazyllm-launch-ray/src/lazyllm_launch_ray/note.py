"""What the launcher keeps in a job's record, for whoever adopts the job from there."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from lazyllm.jobs.record import Record
from lazyllm.jobs.runner import remove, write_json

NOTE, MISSED = "ray.json", "ray-missed.json"


_kept: dict[str, dict[str, Any]] = {}


def write(record: Record, url: str, whole: bool, queue_timeout: float | None) -> None:
    """Keep where the job is and how long it may wait there; `whole`: nothing was left out of the URL."""
    write_json(str(record.folder / NOTE), {"address": url, "whole": whole, "queue_timeout": queue_timeout})


def read(record: Record) -> dict[str, Any]:
    """Return what was kept, which never changes; empty if nothing was."""
    key = str(record.folder)
    if key not in _kept and (found := _read(record.folder / NOTE)):
        _kept[key] = found
    return _kept.get(key, {})


def missed_for(record: Record, now: float) -> float:
    """Note that the cluster did not know the job at the time `now`; return for how many seconds it has not."""
    path = record.folder / MISSED
    since = _read(path).get("since")
    if isinstance(since, (int, float)) and since <= now:
        return now - since
    write_json(str(path), {"since": now})
    return 0.0


def found_again(record: Record) -> None:
    """Note that the cluster knows the job."""
    remove(str(record.folder / MISSED))


def age(record: Record) -> float:
    """Return the seconds since the record was made."""
    return time.time() - float(record.data.get("created", 0))


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
