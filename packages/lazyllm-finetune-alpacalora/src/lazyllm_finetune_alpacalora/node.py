"""A node's part of a training on several nodes: `python -m lazyllm_finetune_alpacalora.node PROCESSES CONFIG.json`.

The launcher runs it once on each node, RANK and WORLD_SIZE counting nodes; it becomes a torchrun of so many processes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from .processes import PACKAGE

VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def torchrun(environ: Mapping[str, str], processes: str, config: str) -> list[str]:
    """Return torchrun's command line for this node."""
    if missing := [name for name in VARIABLES if not environ.get(name)]:
        sys.exit(f"The launcher gives its processes no {', '.join(missing)}, so that the nodes cannot find each other.")
    rank, nodes, address, port = (environ[name] for name in VARIABLES)
    place = (f"--nnodes={nodes}", f"--node_rank={rank}", f"--master_addr={address}", f"--master_port={port}")
    run = (sys.executable, "-m", "torch.distributed.run", *place, f"--nproc_per_node={processes}")
    return [*run, "-m", f"{PACKAGE}.train", config]


if __name__ == "__main__":
    argv = torchrun(os.environ, *sys.argv[1:])
    os.execv(argv[0], argv)  # noqa: S606 (no shell: that is the point)
