"""The cluster's partitions and nodes: what may be asked for at all, and what is free."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping

from lazyllm.common.log import LOG
from lazyllm.errors import InputError, LauncherError, near

from .commands import ping, run
from .hints import hint_for, plain
from .parse import NODE_FIELDS, Node, layout, nodes

TRUSTED = 60.0
"""Seconds for which the list of partitions and nodes is believed."""
UNUSABLE = ("down", "drain", "fail", "maint", "reboot", "power", "unknown", "planned", "reserved", "perfctrs", "inval")
UNHURRIED = 4.0
"""Seconds for a sign of life where somebody waits for it: without munge it takes 2 s to say so."""
BARRED = "munge|credential|authentication|configuration|cannot stat"
"""Words of a client that no waiting helps."""

_held: dict[tuple[str, str], tuple[float, list[Node]]] = {}


def read_nodes(trusting: float = 0.0, patience: float = 10.0) -> list[Node]:
    """Return all pairs of node and partition, as they were at most `trusting` seconds ago.

    Raises:
        LauncherError: Slurm's commands are not there, or its controller does not answer.
    """
    key = (os.environ.get("SLURM_CONF", ""), os.environ.get("SLURM_CLUSTERS", ""))
    when, known = _held.get(key, (float("-inf"), []))
    if time.monotonic() - when <= trusting and known:
        return known
    wait_for_controller(patience)
    answer = run(("sinfo", "--all", "--Node", "-O", layout(NODE_FIELDS)))
    found = nodes(answer.out) if answer.ok else None
    if found is None:
        why = plain(answer.words) if not answer.ok else f"its answer is no list of nodes ({answer.words[:80]})"
        raise LauncherError(f"sinfo cannot list the cluster's nodes: {why}.", hint="Try: sinfo -N")
    _held[key] = (time.monotonic(), found)
    return found


def wait_for_controller(patience: float = 10.0, env: Mapping[str, str] | None = None) -> None:
    """Return once a controller answers, which a restart delays for some seconds.

    Args:
        patience: for how many seconds; that it waits is logged.
        env: by default this process's environment.

    Raises:
        LauncherError: it did not within `patience` seconds, or (at once) it cannot be asked from here.
    """
    end, told = time.monotonic() + patience, False
    while not (answer := ping(UNHURRIED, env)).ok:
        words = plain(answer.words)
        if re.search(BARRED, words, re.I):
            raise LauncherError(f"The Slurm controller cannot be asked: {words}.", hint=hint_for(words))
        last = "".join([said for said in words.split("; ") if not said.startswith("*")][-1:]) or words
        if not told and patience:
            told = True
            LOG.info("The Slurm controller does not answer (%s); waiting up to %g s for it.", last, patience)
        if time.monotonic() > end:
            raise LauncherError(
                f"The Slurm controller does not answer: {last}.",
                hint="scontrol ping tells when it is back; running jobs are not affected.",
            )
        time.sleep(0.5)


def members(every: Iterable[Node], partition: str) -> list[Node]:
    """Return the nodes of a partition, or of several that commas separate.

    Raises:
        InputError: there is none of that name, or it takes no jobs.
    """
    every = list(every)
    names = {node.partition for node in every}
    found: dict[str, Node] = {}
    for name in partition.split(","):
        if name not in names:
            raise InputError(
                f"There is no Slurm partition {name!r}. {near(name, names)}", hint="sinfo -s lists the partitions."
            )
        mine = [node for node in every if node.partition == name]
        if mine[0].available in ("inactive", "drained", "drain"):
            usable = sorted({node.partition for node in every if node.available == "up"})
            raise InputError(
                f"The Slurm partition {name!r} takes no jobs: it is {mine[0].available}.",
                hint=f"Partitions that are up: {', '.join(usable) or 'none'}.",
            )
        found.update((node.name, node) for node in mine)
    return list(found.values())


def check_sizes(
    mine: list[Node],
    partition: str,
    *,
    nnode: int,
    nproc: int,
    cpus: int = 1,
    ngpus: int,
    gpu_type: str | None,
    timeout: float | None,
) -> None:
    """Refuse what the partition can never give, as it is configured now (InputError)."""
    where = f"the Slurm partition {partition!r}"
    if nnode > len(mine):
        raise InputError(f"nnode={nnode} is more than the {len(mine)} node(s) of {where}.", hint=_at_most(len(mine)))
    most = max(node.cpus for node in mine)
    if nproc * cpus > most:
        wish = f"nproc={nproc}" if cpus == 1 else f"cpus_per_task={cpus}"
        wish += f" for each of nproc={nproc}" if cpus > 1 and nproc > 1 else ""
        raise InputError(f"{wish} is more than the {most} CPUs of a node of {where}.", hint=_at_most(most))
    types = sorted({kind for node in mine for kind in node.gpus if kind})
    if gpu_type is not None and gpu_type not in types:
        known = near(gpu_type, types) if types else "The cluster names no types of GPUs there."
        raise InputError(f"No node of {where} has GPUs of the type {gpu_type!r}. {known}")
    sizes = sorted((node.total if gpu_type is None else node.gpus.get(gpu_type, 0) for node in mine), reverse=True)
    if ngpus > sizes[0]:
        has = f"the {sizes[0]} that a node of {where} has" if sizes[0] else f"{where} has: its nodes have none"
        raise InputError(f"ngpus={ngpus} a node is more than {has}.", hint=_at_most(sizes[0]))
    if nnode > (able := sum(size >= ngpus for size in sizes)):
        raise InputError(f"nnode={nnode}, but only {able} node(s) of {where} have {ngpus} GPUs.", hint=_at_most(able))
    limits = [node.limit for node in mine if node.limit is not None]
    if timeout and len(limits) == len(mine) and timeout > max(limits):
        raise InputError(
            f"timeout={timeout:g} s is more than the {max(limits):g} s that {where} gives a job.",
            hint=f"Ask for at most {max(limits):g} s, or for another partition.",
        )


def _at_most(number: int) -> str:
    return f"Ask for at most {number}, or for another partition; sinfo -N -o '%P %N %c %G' shows them."


def free_gpus(mine: list[Node]) -> dict[str, int]:
    """Return {node: free GPUs} of the nodes that could start a job now, those with most first."""
    free = {
        node.name: node.total - node.used
        for node in mine
        if node.state.startswith(("idle", "mixed")) and not any(word in node.state for word in UNUSABLE)
    }
    return {name: n for name, n in sorted(free.items(), key=lambda item: (-item[1], item[0])) if n > 0}
