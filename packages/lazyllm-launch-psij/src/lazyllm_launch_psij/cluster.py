"""What a cluster tells of itself: who it is, and whether a queue of it has GPUs."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

from lazyllm.jobs.tools import Answer, Asking

from .commands import run

LIMIT = 5.0
"""Seconds that an answer may take, which takes milliseconds if the cluster is well."""
SAME = 2.0
"""Seconds for which an answer is believed to hold: fewer than any word on a job has to last before it counts."""

PBS = ("qstat", "-B", "-f"), r"^Server: *(\S+)"
NAMES = {
    "slurm": (("scontrol", "show", "config"), r"^(?:ClusterName|SlurmctldHost\[0\]|SlurmctldPort)\s*=\s*(.*\S)"),
    "lsf": (("lsid",), r"^My cluster name is (\S+)"),
    "pbs": PBS,
    "pbs_classic": PBS,
}
"""Executor → the command whose answer names the cluster, and where in it the name stands."""

Key = tuple[str, ...]

_asking: dict[Key, Asking] = {}
_told: dict[Key, tuple[float, str]] = {}


def identity(name: str, place: Mapping[str, str] | None, *, fresh: bool = False) -> str:
    """Return who the cluster at `place` says it is: on Slurm its name, controller and port; "" if it says nothing.

    With `fresh` it is asked now, whatever it has just said.
    """
    if name not in NAMES:
        return ""
    argv, pattern = NAMES[name]
    return " ".join(re.findall(pattern, _say(name, argv, place, fresh), re.M))


def has_gpus(name: str, queue: str | None, place: Mapping[str, str] | None) -> bool | None:
    """Say whether a queue, or the default one, has GPUs; None if that cannot be told, as on PBS and LSF."""
    if name != "slurm":
        return None
    said = _say(name, ("sinfo", "-h", "-o", "%P|%G", *(["-p", queue] if queue else [])), place)
    rows = [line.strip().partition("|") for line in said.splitlines()]
    found = [gres for partition, _, gres in rows if queue or partition.endswith("*")]
    return any(re.search(r"(^|,)gpu\b", gres) for gres in found) if found else None


def _say(name: str, argv: Key, place: Mapping[str, str] | None, fresh: bool = False) -> str:
    """Return what a command says, or without `fresh` has just said; "" if it fails."""
    conf = os.environ.get("SLURM_CONF") if place is None else place.get("SLURM_CONF")
    if name == "slurm" and conf and not Path(conf).exists():
        return ""  # Slurm's commands would look for it for a minute
    key = (name, *argv, *(f"{key}={value}" for key, value in sorted((place or {}).items())))
    when, said = _told.get(key, (float("-inf"), ""))
    if fresh or time.monotonic() - when > SAME:
        answer = _asking.setdefault(key, Asking(_ask))(name, argv, place)
        if answer is None or not answer.ok:
            return ""
        said = answer.out
        _told[key] = time.monotonic(), said
    return said


def _ask(name: str, argv: Key, place: Mapping[str, str] | None) -> Answer:
    return run(name, argv, limit=LIMIT, place=place)
