"""What a job runs: steps of argv items, environment, files and the service or path that comes out of it.

Nothing here is shell text. An argv item is a string, passed on byte for byte, or a `Ref` that the runner
fills in on the machine where the job runs: a port can only be chosen where it will be bound.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal

from ..errors import InputError


@dataclass(frozen=True, slots=True)
class Ref:
    """A value known only where the job runs: a `port` by name, the `host` to bind, or a `file` of the command's."""

    kind: Literal["port", "host", "file"]
    name: str = ""

    def __str__(self) -> str:
        return f"<{self.name or self.kind}>"

    def to_json(self) -> dict[str, str]:
        return {"ref": self.kind, "name": self.name} if self.name else {"ref": self.kind}


Arg = str | Ref


@dataclass(frozen=True, slots=True)
class Step:
    """One program: `argv` (the first item is looked up on PATH) and a `name` for messages such as "merge failed".

    `once`: it runs in a single process, also where the launcher runs steps in several (`nproc`, `nnode`).
    """

    argv: tuple[Arg, ...]
    name: str = ""
    once: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.argv, (str, bytes)):
            raise InputError(f"A step's argv is a list of strings, not one string: {self.argv!r}.")
        object.__setattr__(self, "argv", tuple(self.argv))
        if not self.argv:
            raise InputError("A step needs at least the program to run; its argv is empty.")
        for item in self.argv:
            if not isinstance(item, (str, Ref)):
                raise InputError(f"argv items are strings or Ref, not {type(item).__name__}: {item!r}.")
            if isinstance(item, str) and "\0" in item:
                raise InputError(f"No program can be given an argument with a NUL character in it: {item!r}.")

    @property
    def title(self) -> str:
        """Its name, or else its program's."""
        return self.name or PurePath(str(self.argv[0])).name


@dataclass(frozen=True, slots=True)
class Service:
    """What a job serves: `protocol` under `path` of a named port. Ready once `health` answers 2xx, in `timeout` s."""

    port: str = "port"
    path: str = "/v1"
    protocol: str = "openai"
    health: str = "/health"
    timeout: float = 600.0


@dataclass(frozen=True, slots=True)
class Command:
    """A job's whole description.

    Args:
        steps: programs that run one after another; the first that fails fails the job. A single one may stand alone.
        env: variables added to the launcher's environment.
        secrets: the same, but kept in a file of mode 0600 and shown nowhere.
        files: name → text; written into the job's folder before the start, referred to by `Ref("file", name)`.
        ports: name → wished port; None for a free one, chosen on the node that binds it.
        host: the address to bind, where it is not to be the launcher's own choice.
        service: what is served, if the job is a server.
        result: what the job's caller gets when all steps are done (a path, usually); the job fails if it is an
            absolute path that they did not make.
        returns: the job's value is the JSON that a step left as result.json in the job's folder.
        ranks: the steps run in several processes, each with torchrun's RANK; the first one's value counts.
        scratch: paths that have no meaning once the job has ended; removed then.
        grace: seconds that the programs need to end well once they are asked to; the launcher's own grace if that is
            longer.
        log: file that the output goes to; the record links to it. By default the output is kept in the record.
        cwd: working folder, the caller's by default.
        title: a few words for `lazyllm ps`.
    """

    steps: tuple[Step, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int | None] = field(default_factory=dict)
    host: str | None = None
    service: Service | None = None
    result: str | None = None
    returns: bool = False
    ranks: bool = False
    scratch: tuple[str, ...] = ()
    grace: float = 0.0
    log: str | None = None
    cwd: str | None = None
    title: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", _steps(self.steps))
        if not self.steps:
            raise InputError("A command needs at least one step.")
        for step in self.steps:
            for item in step.argv:
                if isinstance(item, Ref):
                    self._check_ref(item)
        if self.service and self.service.port not in self.ports:
            raise InputError(f"The service's port {self.service.port!r} is none of the command's: {list(self.ports)}.")
        for name, port in self.ports.items():
            if port is not None and (isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535):
                raise InputError(f"{name}={port!r} is no port: expected 1 to 65535, or None for a free one.")

    def _check_ref(self, ref: Ref) -> None:
        places: dict[str, Iterable[str]] = {"port": self.ports, "file": self.files, "host": ("",)}
        known = places.get(ref.kind)
        if known is None:
            raise InputError(f"{ref!r} is of no kind that there is: expected 'port', 'host' or 'file'.")
        if ref.name not in known:
            raise InputError(f"Ref {ref.kind} {ref.name!r} is not among the command's {ref.kind}s: {list(known)}.")

    @classmethod
    def of(cls, cmd: Command | str | Iterable[Arg], **options: Any) -> Command:
        """Make a command of what authors write: an argv list, or shell text, which runs as `bash -c TEXT`."""
        if isinstance(cmd, Command):
            return cmd
        if isinstance(cmd, str):
            return cls((Step(("bash", "-c", cmd)),), title=cmd, **options)
        if isinstance(cmd, (bytes, Mapping)) or not isinstance(cmd, Iterable):
            raise InputError(f"A command is a string, a list of strings or a Command, not {cmd!r}.")
        return cls((Step(tuple(cmd)),), **options)

    def show(self) -> str:
        """Return the command as a person would type it, a line a step; what only the node knows is `<port>`, say.

        Secrets are left out.
        """
        env = " ".join(f"{k}={shlex.quote(v)}" for k, v in self.env.items())
        lines = [" ".join(self._shown(item) for item in step.argv) for step in self.steps]
        text = "\n".join(f"{env} {line}" if env else line for line in lines)
        return text.encode("utf-8", "backslashreplace").decode()  # bytes that are no text can be passed on, not shown

    def _known(self, item: Arg) -> str:
        """Return an item as it is known before the job runs: a wished port is, a free one is not."""
        known: object = None
        if isinstance(item, Ref) and item.kind != "file":
            known = self.ports[item.name] if item.kind == "port" else self.host
        return str(item if known is None else known)

    def _shown(self, item: Arg) -> str:
        known = self._known(item)
        return known if isinstance(item, Ref) else shlex.quote(known)

    def describe(self) -> dict[str, Any]:
        """Return what `--dry-run --json` prints: the command as `show` has it, and its parts; secrets are left out."""
        return {
            "command": self.show(),
            "argv": [[self._known(item) for item in step.argv] for step in self.steps],
            "env": dict(self.env),
            "files": dict(self.files),
            "ports": dict(self.ports),
            "result": self.result,
        }

    def to_json(self) -> dict[str, Any]:
        """Return what the runner reads; secrets are not in it."""
        service = self.service
        return {
            "steps": [
                {"name": s.name, "argv": [a.to_json() if isinstance(a, Ref) else a for a in s.argv]} for s in self.steps
            ],
            "env": dict(self.env),
            "files": sorted(self.files),
            "ports": dict(self.ports),
            "service": {f: getattr(service, f) for f in Service.__slots__} if service else None,
            "result": self.result,
            "returns": self.returns,
            "ranks": self.ranks,
            "scratch": list(self.scratch),
            "log": self.log,
            "cwd": self.cwd,
            "title": self.title,
        }


def _steps(given: Any) -> tuple[Step, ...]:
    if isinstance(given, Step):
        return (given,)
    hint = "Command((Step(argv),)); Command.of makes a command of an argv list or of shell text."
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise InputError(f"A command's steps are Step objects, not {given!r}.", hint=hint)
    steps = tuple(given)
    for step in steps:
        if not isinstance(step, Step):
            raise InputError(f"A command's steps are Step objects, not {step!r}.", hint=hint)
    return steps
