"""Reasons of waiting that no time will mend, as the schedulers word them."""

from __future__ import annotations

import re

WIDTH = 20
"""Characters of a reason that psij-python has squeue print."""
LESS = "Ask for less, or for another queue: scontrol show partition shows the limits"
RIGHTS = "sacctmgr show assoc user=$USER shows the accounts and QOS that you may use"

SLURM = {
    "PartitionConfig": ("its queue has no node that large", LESS),
    "PartitionNodeLimit": ("its queue gives a job fewer nodes", LESS),
    "PartitionTimeLimit": ("its queue gives a job less time", LESS),
    "MaxMemPerLimit": ("its queue gives a job less memory", LESS),
    "BadConstraints": ("no node has what it demands", "sinfo -N -o '%N %c %m %G %f' shows what they have"),
    "DependencyNeverSatisfied": ("it depends on a job that ended otherwise", "Submit it without the dependency"),
    "DeadLine": ("its deadline is too near", "Give it a later one"),
    "AccountNotAllowed": ("its account is not let into the queue", RIGHTS),
    "InvalidAccount": ("Slurm has no such account", RIGHTS),
    "InvalidQOS": ("Slurm has no such QOS", RIGHTS),
    "QOSNotAllowed": ("its QOS is not let into the queue", RIGHTS),
    "launch failed requeued held": ("no node could launch it", "Ask the administrator why"),
}
PER_JOB = re.compile(r"(Assoc|QOS)M(in|ax(\w*PerJ|WallDuration|(Cpu|GRES)MinutesP))")
"""Limits of an account or QOS on each single job; those on all jobs of a user pass."""
PBS = re.compile(r"can never run|job held, too many failed attempts", re.IGNORECASE)


def hopeless(name: str, message: str) -> str | None:
    """Return why a job that waits for the reason `message` will never start, and what mends it; None if it may.

    LSF's reasons are not asked for by psij-python.
    """
    if name != "slurm":
        return message if PBS.match(message) else None
    reason = message.strip("()")
    for known, (meaning, remedy) in SLURM.items():
        if reason in (known, known[:WIDTH]):
            return f"{meaning} ({known}). {remedy}"
    return (
        f"an account or QOS of yours sets limits for each job ({reason}). {RIGHTS}" if PER_JOB.match(reason) else None
    )
