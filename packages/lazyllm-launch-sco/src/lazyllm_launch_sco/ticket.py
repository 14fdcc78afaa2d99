"""What a job's record keeps for this launcher, in sco.json: whoever adopts the job knows where to ask for it."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lazyllm.configs import config
from lazyllm.jobs import runner
from lazyllm.jobs.record import Record
from lazyllm.jobs.recording import died, owner

FILE = "sco.json"
PREFIX = "s_flag_"
"""What the names of our jobs begin with: on SenseCore they begin with a letter."""
TOLD_BY = ("SCO", "SENSECORE", "ACP")
"""How variables begin that SenseCore's tools may read."""
SUBMISSION = 60.0
"""Age in seconds from which on nobody is expected to be submitting a job any more."""
START = str(Path(__file__).with_name("node") / "start.py")


@dataclass(frozen=True, slots=True)
class Ticket:
    """Which tools and workspace a job went to; folders that its Python looks in; steps that every node runs; who.

    `env` is sco_env_name, `tools` what `tools_here` returned.
    """

    generation: str
    workspace: str
    pythonpath: tuple[str, ...] = ()
    spread: int = 0
    submitter: dict[str, Any] = field(default_factory=owner)
    nodes: int = 0
    env: str = ""
    tools: str = ""

    def write(self, record: Record) -> None:
        runner.write_json(str(record.folder / FILE), asdict(self))


def ticket_of(record: Record) -> Ticket | None:
    """Return a record's ticket; None if it has none that can be read."""
    try:
        data = json.loads((record.folder / FILE).read_bytes())
        return Ticket(**{**data, "pythonpath": tuple(data["pythonpath"]), "submitter": dict(data["submitter"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def given_up(record: Record) -> bool:
    """Say whether nobody is submitting the job any more: it is older than a minute, or its submitter is dead."""
    ticket = ticket_of(record)
    return record.age > SUBMISSION or (ticket is not None and died(ticket.submitter))


def tools_here(generation: str) -> str:
    """Return a name of the tools that are asked here, and of the user and settings that they are asked with."""
    program = shutil.which("sco" if generation == "acp" else "squeue") or ""
    settings = {name: value for name, value in os.environ.items() if name.startswith(TOLD_BY)}
    facts = [os.path.realpath(program), os.environ.get("HOME"), sorted(settings.items())]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def same_tools(ticket: Ticket) -> bool:
    """Say whether a job is asked for as it was submitted; if not, what is not there may be elsewhere."""
    return ticket.tools in ("", tools_here(ticket.generation))


def search_path(cwd: str) -> tuple[str, ...]:
    """Return the folders that the job's Python looks in first: the working folder, and this process's PYTHONPATH."""
    return (cwd, *(path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path))


def script(runner_argv: list[str], *, under_bash: bool) -> str:
    """Return the one line that a container runs, a quoted command line of ours with nothing of the user's in it.

    Args:
        under_bash: bash will read it; otherwise any shell.
    """
    python, options = runner_argv[0], ("-I", "-S")
    line = "exec " + shlex.join((python, *options, START, *runner_argv))
    name = config["sco_env_name"]
    if not name:
        return line
    line = f"source activate {shlex.quote(name)} && {line}"
    return line if under_bash else "exec " + shlex.join(("bash", "-c", line))
