"""How a job's steps become those of several processes: torchrun on each node, and each step on every node."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path

from lazyllm.jobs.command import Arg, Command, Ref, Step

LEAD = str(Path(__file__).with_name("node") / "lead.py")
PYTHON = re.compile(r"(python|pypy)[\d.]*")
SHELL = re.compile(r"[$`\\|&;<>(){}*?\[\]~#!\n]")
"""What a shell may do more with than to split words."""
RENDEZVOUS = "master_port"
NODES = (
    "--nnodes", "${WORLD_SIZE}", "--node_rank", "${RANK}", "--master_addr", "${MASTER_ADDR}",
    "--master_port", "${MASTER_PORT}",
)  # fmt: skip
QUOTED = " ".join(f"'{word}'" if word.startswith("$") else word for word in NODES)


@dataclass(frozen=True, slots=True)
class SpreadCommand(Command):
    """A command for several nodes; it is shown as each of them runs it, without what keeps the nodes together."""

    plain: Command | None = field(default=None, repr=False)

    def show(self) -> str:
        if self.plain is None:
            return super(SpreadCommand, self).show()
        lines = self.plain.show().split("\n")
        return "\n".join(line.replace(QUOTED, " ".join(NODES), 1) for line in lines)

    def describe(self) -> dict[str, object]:
        described = super(SpreadCommand, self).describe()
        return {**described, **(self.plain.describe() if self.plain else {}), "command": self.show()}


def spread(command: Command, *, nnode: int, nproc: int, torchrun: bool, python: str) -> Command:
    """Return `command` as it runs on `nnode` nodes, each step in `nproc` processes of each with `torchrun`.

    A step marked `once` runs in a single process on the first node; so does a server, which has one address.
    """
    if command.service is not None or not (torchrun or nnode > 1):
        return command
    steps = tuple(_torchrun(step, nnode, nproc) if torchrun else step for step in command.steps)
    rendezvous = torchrun and nnode == 1 and not all(step.once for step in steps)
    ports = {**({RENDEZVOUS: None} if rendezvous else {}), **command.ports}
    plain = replace(command, steps=steps, ports=ports, ranks=not all(step.once for step in steps))
    if nnode == 1:
        return plain
    led, number = [], 0
    for step in plain.steps:
        head = [python, "-I", "-S", LEAD]
        if step.once:
            head.append("alone")
        else:
            words = step.argv.index(NODES[-1]) + 1 if torchrun else 0
            head += [str(number), str(words)]
            number += 1
        led.append(replace(step, argv=(*head, *step.argv), name=step.title))
    parts = {name: getattr(plain, name) for name in Command.__dataclass_fields__}
    return SpreadCommand(**{**parts, "steps": tuple(led)}, plain=plain)


def spread_steps(command: Command) -> int:
    """Return how many of the command's steps run on every node."""
    return sum(LEAD in step.argv[:4] and "alone" not in step.argv[:5] for step in command.steps)


def _torchrun(step: Step, nnode: int, nproc: int) -> Step:
    if step.once:
        return step
    argv = _plain(step.argv)
    first, rest = str(argv[0]), argv[1:]
    is_python = PYTHON.fullmatch(Path(first).name) is not None
    head: list[Arg] = [first if is_python else "python", "-m", "torch.distributed.run", "--nproc_per_node", str(nproc)]
    if nnode == 1:
        head += ["--nnodes", "1", "--node_rank", "0", "--master_port", Ref("port", RENDEZVOUS)]
    else:
        head += NODES
    direct = is_python and bool(rest) and (rest[0] == "-m" or not str(rest[0]).startswith("-"))
    tail = rest if direct else ("--no-python", *argv)
    return replace(step, argv=(*head, *tail), name=step.title)


def _plain(argv: tuple[Arg, ...]) -> tuple[Arg, ...]:
    """Return the words of a step that is shell text, if these say the same: torchrun takes the place of its Python."""
    if argv[:2] != ("bash", "-c") or len(argv) != 3 or SHELL.search(str(argv[2])):
        return argv
    try:
        words = shlex.split(str(argv[2]))
    except ValueError:
        return argv
    return tuple(words) if words and PYTHON.fullmatch(Path(words[0]).name) else argv
