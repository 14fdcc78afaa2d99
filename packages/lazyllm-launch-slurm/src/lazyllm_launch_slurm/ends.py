"""What Slurm's words for an end mean. The runner on a node reads this, too: Python >= 3.8 and nothing else."""

ENDS = {
    "CANCELLED": ("Cancelled", "cancelled in Slurm"),
    "REVOKED": ("Cancelled", "revoked by Slurm"),
    "PREEMPTED": ("Cancelled", "preempted by another Slurm job"),
    "TIMEOUT": ("Failed", "Slurm's time limit was reached"),
    "DEADLINE": ("Failed", "Slurm's deadline was reached"),
    "NODE_FAIL": ("Failed", "its node failed"),
    "BOOT_FAIL": ("Failed", "its node did not boot"),
    "OUT_OF_MEMORY": ("Failed", "memory ran out on its node"),
}
"""Slurm's word → the job's state and, for people, the reason."""
