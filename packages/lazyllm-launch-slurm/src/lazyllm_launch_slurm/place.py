"""Which cluster a job went to: its programs' variables, the proof that they speak of it, and its jobs' cancellation."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from lazyllm.common.log import LOG
from lazyllm.jobs.record import Record
from lazyllm.jobs.tools import Answer

from .commands import ask, run, scancel
from .submit import name_of

NOTE = "slurm.json"
"""The file in a job's record that says where it was submitted, and under which addresses Slurm knows the nodes."""
FIELDS = ("conf", "clusters", "cluster")
"""Its fields that say where: SLURM_CONF and SLURM_CLUSTERS at the submission, and who answered there."""
SAME = 60.0
"""Seconds for which a configuration is believed to name the same cluster."""

_names: dict[Place, tuple[float, str]] = {}
_told: set[tuple[str, str]] = set()


@dataclass(frozen=True)
class Place:
    """What makes Slurm's programs speak of one cluster; "" where nothing is said."""

    conf: str = ""
    clusters: str = ""

    @classmethod
    def here(cls) -> Place:
        """Return the place that this process's environment names."""
        conf = os.environ.get("SLURM_CONF", "")
        return cls(str(Path(conf).absolute()) if conf else "", os.environ.get("SLURM_CLUSTERS", ""))

    def environ(self) -> dict[str, str]:
        """Return this process's environment, as it has to be for this place."""
        said = {"SLURM_CONF": self.conf, "SLURM_CLUSTERS": self.clusters}
        environ = {name: value for name, value in os.environ.items() if name not in said}
        return {**environ, **{name: value for name, value in said.items() if value}}

    def identity(self) -> str:
        """Return the cluster's name, controller and port, as it says itself; "" if it does not."""
        when, known = _names.get(self, (float("-inf"), ""))
        if known and time.monotonic() - when < SAME:
            return known
        answer = ask(("scontrol", "show", "config"), limit=5.0, env=self.environ())
        if answer is None or not answer.ok:
            return ""
        facts = dict(re.findall(r"^(ClusterName|SlurmctldHost\[0\]|SlurmctldPort)\s*=\s*(.*\S)", answer.out, re.M))
        if "ClusterName" not in facts:
            return ""
        host, port = facts.get("SlurmctldHost[0]", "?"), facts.get("SlurmctldPort", "?")
        found = f"{facts['ClusterName']} ({host}, port {port})"
        _names[self] = time.monotonic(), found
        return found


def forget() -> None:
    """Ask clusters anew who they are."""
    _names.clear()
    _kept.cache_clear()


@lru_cache(4096)
def _kept(path: Path) -> dict[str, Any]:
    data = json.loads(path.read_bytes())
    if not isinstance(data, dict) or not all(isinstance(data.get(key, ""), str) for key in FIELDS):
        raise ValueError(f"{path} was damaged")
    return data


def kept(record: Record) -> dict[str, Any]:
    """Return what was noted when the job was submitted; empty if nothing was."""
    try:
        return _kept(record.folder / NOTE)
    except (OSError, ValueError):
        return {}


def place_of(record: Record) -> Place:
    """Return where a job was submitted; this process's place if that is not known, or cannot be reached from here."""
    note = kept(record)
    if "conf" not in note or (note["conf"] and not Path(note["conf"]).exists()):
        return Place.here()
    return Place(note["conf"], note.get("clusters", ""))


def at_home(record: Record) -> bool:
    """Say whether the cluster that can be asked is the one that the job was submitted to."""
    theirs = kept(record).get("cluster")
    if not theirs:
        return True  # it was not told at the time
    mine = place_of(record).identity()
    if mine and mine != theirs and (theirs, mine) not in _told:
        _told.add((theirs, mine))
        LOG.warning("%s", elsewhere(record))
    return mine == str(theirs)


def elsewhere(record: Record) -> str:
    """Return, in words, that a job belongs to another cluster than the one that can be asked."""
    jobid, place = record.jobid, place_of(record)
    asked = place.identity() or "none that answers"
    return (
        f"Slurm's job {jobid} (record {record.id}) was submitted to the Slurm cluster {kept(record).get('cluster')}, "
        f"which is not the one that {place.conf or 'the default configuration'} names: {asked}."
    )


def cancel(record: Record, jobid: str, *options: str) -> Answer:
    """Have Slurm cancel, or signal, a job: by its number and its name, so that it can be no other's.

    Raises:
        LauncherError: scancel is not on PATH.
    """
    name = name_of(record.data.get("name", ""), record.id)
    return run(scancel(jobid, *options, name=name), env=place_of(record).environ())
