"""What mends what Slurm complains of, by its own words."""

from __future__ import annotations

import re

HINTS = (
    ("munge|credential|authentication|expired", "Ask the cluster's administrator to look at munge, or log in anew."),
    (
        "cannot stat|configuration (file|source)",
        "Let SLURM_CONF name the cluster's slurm.conf; scontrol ping tells.",
    ),
    ("partition", "sinfo -s lists the partitions."),
    ("account", "sacctmgr show assoc user=$USER format=account,partition,qos lists the accounts that you may use."),
    ("qos", "sacctmgr show assoc user=$USER format=account,qos lists the QOS that you may use."),
    ("feature", "sinfo -N -o '%N %f' lists what constraint can name."),
    ("invalid number of nodes", "If nodelist names more nodes than nnode, raise nnode or name fewer."),
    ("node name", "sinfo -N -o '%N' lists the nodes."),
    ("node configuration|generic resource|gres|memory|processors|node count", "sinfo -N -o '%N %c %m %G' lists sizes."),
    ("time", "scontrol show partition shows the time limits."),
    ("contact|connect|communication|timed out", "scontrol ping tells when the controller is back."),
    ("reservation", "scontrol show reservation lists the reservations."),
    ("limit|denied|permi", "sacctmgr show assoc user=$USER shows your limits."),
)


def plain(words: str) -> str:
    """Return what a program of Slurm's said, without its name before each line and a full stop at the end."""
    return re.sub(r"\b(sbatch|scontrol|sinfo|scancel): ((error|fatal): )?", "", words).strip().rstrip(".")


def hint_for(words: str) -> str:
    """Return the command, or the advice, that goes with Slurm's words."""
    return next((hint for pattern, hint in HINTS if re.search(pattern, words, re.I)), "Its words are Slurm's own.")
