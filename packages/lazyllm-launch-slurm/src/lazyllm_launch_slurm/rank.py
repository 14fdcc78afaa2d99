"""One process of several, under srun: `python -I -S rank.py ADDRESS PORT PROGRAM ARGUMENT…`.

Gives the program the variables that torchrun gives, from Slurm's, and becomes it. Standard library alone.
"""

# ruff: noqa: UP031

from __future__ import annotations

import os
import sys


def variables(slurm: dict[str, str], address: str, port: str) -> dict[str, str]:
    """Return torchrun's variables. RANK counts all processes, LOCAL_RANK those of a node, GROUP_RANK the nodes."""
    size, nodes = int(slurm["SLURM_NTASKS"]), int(slurm.get("SLURM_STEP_NUM_NODES") or slurm["SLURM_NNODES"])
    if address in ("0.0.0.0", "::"):  # noqa: S104 (compared, not bound)
        address = slurm.get("SLURM_LAUNCH_NODE_IPADDR") or slurm["SLURMD_NODENAME"]
    rank, group = slurm["SLURM_PROCID"], slurm["SLURM_NODEID"]
    return {
        "MASTER_ADDR": address,
        "MASTER_PORT": port,
        "WORLD_SIZE": str(size),
        "RANK": rank,
        "LOCAL_RANK": slurm["SLURM_LOCALID"],
        "LOCAL_WORLD_SIZE": str(size // nodes),
        "GROUP_RANK": group,
        "NODE_RANK": group,
        "GROUP_WORLD_SIZE": str(nodes),
        "ROLE_RANK": rank,
        "ROLE_WORLD_SIZE": str(size),
    }


def main(address: str, port: str, *argv: str) -> None:
    os.environ.update(variables(dict(os.environ), address, port))
    try:
        os.execvp(argv[0], argv)  # noqa: S606 (no shell: that is the point)
    except OSError as error:
        sys.exit("The program %r cannot be started: %s" % (argv[0], error.strerror))


if __name__ == "__main__":
    main(*sys.argv[1:])
