"""Several processes for one job: each step runs under srun, each process with torchrun's variables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lazyllm.errors import InputError
from lazyllm.jobs.command import Arg, Command, Ref

RENDEZVOUS = "master_port"
RANK = str(Path(__file__).with_name("rank.py"))


def spread(command: Command, nnode: int, nproc: int, *, python: str, cpus: int | None) -> Command:
    """Return `command` with its steps in `nnode` × `nproc` processes; a step marked `once` stays a single one.

    A server has one address: it runs once, on the job's first node, and finds the others in SLURM_JOB_NODELIST.
    """
    if nnode * nproc == 1:
        return command
    if command.service is not None:
        if nproc > 1:
            raise InputError(
                f"nproc={nproc} processes cannot serve on one port.", hint="Leave nproc out; nnode may be above 1."
            )
        return command
    shape = [f"--nodes={nnode}", f"--ntasks={nnode * nproc}", f"--ntasks-per-node={nproc}", "--distribution=block"]
    shape += [f"--cpus-per-task={cpus}"] if cpus else []
    start: tuple[Arg, ...] = ("srun", *shape, "--kill-on-bad-exit=1", "--input=none", "--export=ALL")
    start += (python, "-I", "-S", RANK, Ref("host"), Ref("port", RENDEZVOUS))
    steps = tuple(
        step if step.once else replace(step, argv=(*start, *step.argv), name=step.title) for step in command.steps
    )
    return replace(command, steps=steps, ports={RENDEZVOUS: None, **command.ports}, ranks=True)
