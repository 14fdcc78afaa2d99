"""What a launcher was asked for, checked when it is made."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lazyllm.configs import config
from lazyllm.errors import InputError
from lazyllm.jobs import checks
from lazyllm.jobs.tools import locate

from .schedulers import KEYWORDS, LOCAL, PLAIN, SCHEDULERS, Scheduler, check_name

OPTION = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
CARRIED = re.compile(r"[^\"'\\$`]+")


@dataclass(frozen=True)
class Wishes:
    """A job's size and place. The fields are explained in `PsijLauncher`."""

    executor: str | None
    queue: str | None
    nnode: int
    ncpus: int | None
    ngpus: int | None
    timeout: float | None
    account: str | None
    options: Mapping[str, Any]

    def __post_init__(self) -> None:
        for name, least in (("nnode", 1), ("ncpus", 1), ("ngpus", 0)):
            checks.whole(name, getattr(self, name), least, none=name != "nnode")
        for name in ("executor", "queue", "account"):
            _name(name, getattr(self, name))
        checks.seconds("timeout", self.timeout, "the queue's own limit")
        if self.nnode > 1:
            raise InputError(
                f"nnode={self.nnode}: launchers.psij runs a job on one node, as psij-python can start several "
                "processes but not tell them of each other.",
                hint="On Slurm, launchers.slurm(nnode=…) does it.",
            )
        if not isinstance(self.options, Mapping):
            raise InputError(f"options={self.options!r}: expected a dict of the scheduler's options.")
        if self.executor is not None:
            self.check(check_name(self.executor))

    def place(self) -> str:
        """Return the executor's name; an InputError that names those of this machine if none is chosen."""
        chosen = self.executor or str(config["psij.executor"])
        if not chosen:
            here = [name for name, kind in SCHEDULERS.items() if all(map(shutil.which, kind.programs))]
            found = f"The commands of {' and '.join(here)} are here." if here else "No scheduler's commands are here."
            raise InputError(
                f"No scheduler is chosen for launchers.psij. {found}",
                hint=f"Pass launchers.psij(NAME), or set LAZYLLM_PSIJ_EXECUTOR, to {', '.join(SCHEDULERS)} or {LOCAL}.",
            )
        self.check(check_name(chosen))
        return chosen

    def queue_of(self, name: str) -> str | None:
        """Return the queue; None for the scheduler's default."""
        queue = self.queue or (None if name == LOCAL else str(config["psij.queue"]) or None)
        _name("psij.queue", queue)
        return queue

    def check(self, name: str) -> None:
        """Refuse what the executor cannot be asked for; whether GPUs can, `gpus.fitted` says."""
        if name != LOCAL:
            option_pairs(SCHEDULERS[name], self.options)
            return
        given = {key: getattr(self, key) for key in ("queue", "account", "ncpus", "options")}
        for key, value in given.items():
            if value:
                raise InputError(
                    f"{key}={value!r}: the executor 'local' cannot be asked for that.",
                    hint="launchers.empty is made for this machine, and chooses GPUs.",
                )

    def ready(self) -> str:
        """Return the executor's name after a look whether its programs are here.

        Raises:
            LauncherError: one is missing; the message names it.
        """
        name = self.place()
        self.queue_of(name)
        if name != LOCAL:
            scheduler = SCHEDULERS[name]
            for program in scheduler.programs:
                locate(program, scheduler.title)
        return name

    def asked(self, name: str) -> list[tuple[str, str]]:
        """Return all options that become directives of the submit script, but queue and duration."""
        scheduler = SCHEDULERS[name]
        found = scheduler.request(self.ncpus, self.ngpus or 0)
        if self.account:
            found.append((scheduler.account_option, self.account))
        return found + option_pairs(scheduler, self.options)


def option_pairs(scheduler: Scheduler, options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (name, value) of each option, a list giving several; an InputError for what no script can carry."""
    found = []
    for key, values in options.items():
        name = str(key).lstrip("-")
        name = name.replace("_", "-") if scheduler.name == "slurm" else name
        if not OPTION.fullmatch(name):
            raise InputError(f"options: {key!r} is no name of an option of {scheduler.title}'s, such as 'l' or 'qos'.")
        if name in KEYWORDS and name not in scheduler.ours:
            raise InputError(f"options: {key!r} is no option of {scheduler.title}'s.", hint=f"Use the keyword {name}.")
        if name in scheduler.ours:
            keyword = scheduler.ours[name]
            how = f"Use the keyword {keyword}." if keyword else "The launcher sets it, or cannot work with it."
            raise InputError(f"options: {scheduler.title}'s option {name!r} cannot be given here.", hint=how)
        for value in values if isinstance(values, (list, tuple)) else [values]:
            if isinstance(value, bool) or not isinstance(value, (str, int, float)):
                raise InputError(f"options[{key!r}]={value!r}: expected text or a number.")
            text = str(value)
            if not text.isprintable() or not CARRIED.fullmatch(text):
                raise InputError(
                    f"options[{key!r}]={value!r}: a submit script cannot carry an empty value, quotes, backslashes, "
                    "$, ` or what cannot be printed."
                )
            found.append((name, text))
    return found


def _name(name: str, value: Any) -> None:
    if value is not None and not (isinstance(value, str) and PLAIN.fullmatch(value) and value[0] != "-"):
        raise InputError(
            f"{name}={value!r}: expected a name of letters, digits and _@%+=:,./- , not with a dash first, or None: "
            "psij-python's scripts carry no other."
        )
