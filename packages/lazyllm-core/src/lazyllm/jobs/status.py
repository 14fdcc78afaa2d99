"""What state a job is in."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """TBSubmitted: not started yet. InQueue: waiting for resources. Pending: suspended. The last three are ends."""

    TBSubmitted = "TBSubmitted"
    InQueue = "InQueue"
    Running = "Running"
    Pending = "Pending"
    Done = "Done"
    Cancelled = "Cancelled"
    Failed = "Failed"

    @property
    def ended(self) -> bool:
        return self in (Status.Done, Status.Cancelled, Status.Failed)


def state_of(status: Mapping[str, Any]) -> Status:
    """Return the state that a status.json names; TBSubmitted if there is none yet."""
    try:
        return Status(status.get("state", Status.TBSubmitted))
    except ValueError:
        return Status.TBSubmitted
