"""In how many processes a training runs, and who starts them: the launcher, torchrun, or both."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lazyllm.errors import InputError
from lazyllm.jobs.command import Arg, Ref

PACKAGE = __package__ or "lazyllm_finetune_alpacalora"
PORT = "nccl"


@dataclass(frozen=True, slots=True)
class Processes:
    """`ranks` processes that the launcher runs, of which each starts `local` (1: it is one itself), by torchrun."""

    ranks: int = 1
    local: int = 1

    @property
    def world(self) -> int:
        return self.ranks * self.local

    @classmethod
    def of(cls, launcher: Any) -> Processes:
        """Return what `launcher` asks for: a process for each of its nnode x nproc, and else for each GPU of a node.

        Raises:
            InputError: more processes than GPUs on a node; each trains on one of its own.
        """
        nnode, nproc, ngpus = (int(getattr(launcher, name, 1) or 0) for name in ("nnode", "nproc", "ngpus"))
        torchrun = getattr(launcher, "torchrun", None)  # a launcher that has it off leaves nproc alone
        if (nproc > 1 and torchrun is not False) or (nnode > 1 and torchrun):
            if 0 < ngpus < nproc:
                raise InputError(
                    f"nproc={nproc} processes a node need a GPU each, but ngpus={ngpus}.",
                    hint=f"Ask for ngpus={nproc}, or for ngpus=0 to train on CPUs.",
                )
            return cls(max(1, nnode) * nproc)
        if getattr(launcher, "owned", False) and not gpus_here():
            ngpus = 1
        return cls(max(1, nnode), max(1, ngpus))

    def argv(self, config: Ref, *, torchrun: bool) -> tuple[Arg, ...]:
        """Return the training step's program. `torchrun`: also for one process."""
        train = ("-m", f"{PACKAGE}.train", config)
        if self.ranks > 1 and self.local > 1:
            return (sys.executable, "-m", f"{PACKAGE}.node", str(self.local), config)
        if self.ranks > 1 or (self.local == 1 and not torchrun):
            return (sys.executable, *train)
        alone = ("--nnodes=1", f"--nproc_per_node={self.local}", "--master_addr", "127.0.0.1")
        return (sys.executable, "-m", "torch.distributed.run", *alone, "--master_port", Ref("port", PORT), *train)


def gpus_here() -> bool:
    """Say whether this machine has a GPU that CUDA could use, importing nothing."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()
