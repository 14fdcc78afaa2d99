"""A launcher's wishes as sbatch's options, each checked before anything is submitted."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

from lazyllm.errors import InputError, LauncherError, near

from .commands import run
from .parse import option_names

TEXTS = ("account", "qos", "constraint", "reservation", "nodelist", "exclude", "mem")
OURS = frozenset({
    *TEXTS, "array", "chdir", "clusters", "container", "error", "exclusive", "export", "export-file", "get-user-env",
    "gid", "gres", "help", "input", "job-name", "no-requeue", "nodes", "ntasks", "ntasks-per-node", "open-mode",
    "output", "parsable", "partition", "quiet", "requeue", "test-only", "time", "uid", "usage", "verbose", "version",
    "wait", "wrap",
})  # fmt: skip
"""Options that cannot be given as extra ones: they have keywords of their own, or they are this launcher's business."""
MARGIN = 60.0
"""Seconds that Slurm gives a job beyond its timeout and grace: its clock runs before the runner's does."""
MOST_AHEAD = 65535
"""The longest time, in seconds, by which sbatch's --signal comes ahead of the limit; without any it is 60."""

_known: list[frozenset[str]] = []


def flags(wishes: Mapping[str, Any]) -> list[str]:
    """Return sbatch's options for named wishes; None and False are left out, True is an option without a value."""
    found = []
    for name, value in wishes.items():
        option = "--" + name.replace("_", "-")
        if value is True:
            found.append(option)
        elif value is not None and value is not False:
            found.append(f"{option}={value}")
    return found


def minutes(timeout: float, grace: float, limits: Iterable[float] = ()) -> int:
    """Return Slurm's own limit for a job, in whole minutes: late enough for the runner to end the job by itself.

    Args:
        timeout: the job's, in seconds.
        grace: seconds that its programs have to end.
        limits: partitions' own, in seconds; none that gives a job its timeout is exceeded.
    """
    wanted = math.ceil((timeout + grace + MARGIN) / 60)
    least = math.ceil(timeout / 60)
    return min([wanted, *(max(int(limit // 60), least) for limit in limits if limit >= timeout)])


def sooner(signal: str, seconds: int) -> str:
    """Return --signal's value for one that has to come so much sooner: Slurm counts back from its own limit."""
    what, _, when = signal.partition("@")
    when = when or "60"
    return f"{what}@{min(int(when) + seconds, MOST_AHEAD)}" if when.isdecimal() else signal


def output_file(path: str) -> str:
    """Return `path` as sbatch's --output takes it. A path with a backslash cannot be written there."""
    return os.devnull if "\\" in path else path.replace("%", "%%")


def extra_options(options: Any) -> dict[str, Any]:
    """Return further options of sbatch's, names with dashes; their names are looked up when they are used."""
    if not isinstance(options, Mapping):
        raise InputError(f"options={options!r}: expected a dict of sbatch's long options, such as {{'nice': 100}}.")
    found = {}
    for key, value in options.items():
        name = str(key).lstrip("-").replace("_", "-")
        if name in OURS:
            raise InputError(f"sbatch's option {name!r} cannot be given here.", hint=_instead(name))
        if not isinstance(value, (str, int, float, bool)) or (isinstance(value, str) and "\0" in value):
            raise InputError(f"options[{key!r}]={value!r}: expected text, a number, or True for an option by itself.")
        found[name] = value
    return found


def _instead(name: str) -> str:
    keyword = {"nodes": "nnode", "ntasks": "nproc", "ntasks-per-node": "nproc", "gres": "ngpus", "time": "timeout"}
    direct = (*TEXTS, "partition", "container", "requeue", "exclusive")
    found = keyword.get(name) or (name if name in direct else None)
    return f"Use the keyword {found}." if found else "The launcher sets it, or cannot work with it."


def check_known(names: set[str]) -> None:
    """Refuse options that this cluster's sbatch, its plugins included, does not have."""
    if unknown := sorted(names - sbatch_options()):
        nearest = near(unknown[0], sbatch_options())
        known = f" {nearest}" if nearest.startswith("Did") else ""
        raise InputError(f"sbatch has no option --{unknown[0]} here.{known}", hint="sbatch --help lists them.")


def sbatch_options() -> frozenset[str]:
    """Return the names of all long options that this machine's sbatch has."""
    if not _known:
        answer = run(("sbatch", "--help"))
        found = option_names(answer.out)
        if not found:
            raise LauncherError(f"sbatch does not tell its options: {answer.words}.", hint="Try: sbatch --help")
        _known.append(frozenset(found))
    return _known[0]
