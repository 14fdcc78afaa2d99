"""Reads what Slurm's programs print. Columns have fixed widths, because the JSON form changes with every release."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

JOB_FIELDS = {"JobID": 32, "State": 32, "exit_code": 16, "Reason": 128, "EndTime": 24, "Name": 128}
NODE_FIELDS = {
    "PartitionName": 64, "NodeList": 64, "NodeAddr": 64, "Gres": 256, "GresUsed": 256, "StateLong": 32, "CPUs": 16,
    "Time": 24, "Available": 16,
}  # fmt: skip
SACCT_FIELDS = ("JobIDRaw", "State", "ExitCode", "End", "JobName")


@dataclass(frozen=True, slots=True)
class Seen:
    """A job as Slurm knew it when it was asked, at `asked` (seconds since 1970).

    `word` is Slurm's state. `code` is the batch script's exit code, below 0 the signal that ended it. `ended` is None
    if it is not known, `number` empty.
    """

    word: str
    asked: float
    reason: str = ""
    code: int | None = None
    ended: float | None = None
    name: str = ""
    number: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A node, as a member of one partition. `gpus` are all that it has, by type ("" where it has no name)."""

    partition: str
    name: str
    address: str
    gpus: Mapping[str, int]
    used: int
    state: str
    cpus: int
    limit: float | None
    available: str

    @property
    def total(self) -> int:
        return sum(self.gpus.values())


def layout(fields: Mapping[str, int]) -> str:
    """Return the value of squeue's and sinfo's -O."""
    return ",".join(f"{name}:{width}" for name, width in fields.items())


def table(text: str, fields: Mapping[str, int], head: str) -> list[dict[str, str]] | None:
    """Return the lines of a table; None if none has `head` in its first column: an empty answer is no empty table.

    Of several clusters each has a table with a head of its own, after a line `CLUSTER: name`.
    """
    first, found = next(iter(fields)), list(rows(text, fields))
    if not found or found[0][first] != head:
        return None
    return [row for row in found if row[first] != head]


def rows(text: str, fields: Mapping[str, int]) -> Iterator[dict[str, str]]:
    """Yield the lines of tables; lines that are too short for one (`CLUSTER: name`) are no part of it."""
    for line in text.splitlines():
        if len(line) < sum(fields.values()) - list(fields.values())[-1]:
            continue
        cells, start = {}, 0
        for name, width in fields.items():
            cells[name] = line[start : start + width].strip()
            start += width
        yield cells


def jobs(text: str, asked: float) -> dict[str, Seen] | None:
    """Return {id: job} of squeue's table; None if this is none."""
    lines = table(text, JOB_FIELDS, "JOBID")
    if lines is None or not all(row["JobID"].isdecimal() for row in lines):
        return None
    found = {}
    for row in lines:
        code = row["exit_code"]
        found[row["JobID"]] = Seen(
            state_word(row["State"]), asked, row["Reason"], _wait_code(int(code)) if code.isdigit() else None,
            moment(row["EndTime"]), row["Name"], row["JobID"],
        )  # fmt: skip
    return found


def accounted(text: str, asked: float) -> dict[str, Seen] | None:
    """Return {id: job} of `sacct -X -P`; None if its head is not there."""
    lines, found = text.splitlines(), {}
    if not lines or lines[0].split("|") != list(SACCT_FIELDS):
        return None
    for line in lines[1:]:
        cells = line.split("|")
        if len(cells) == len(SACCT_FIELDS):
            number, state, code, end, name = cells
            found[number] = Seen(state_word(state), asked, "", exit_pair(code), moment(end), name)
    return found


def state_word(text: str) -> str:
    """Return a state without what goes with it: `CANCELLED by 1000`, `COMPLETING+`."""
    return text.split()[0].rstrip("+") if text.split() else ""


def exit_pair(text: str) -> int | None:
    """Return the exit code that `CODE:SIGNAL` means."""
    match = re.fullmatch(r"(\d+):(\d+)", text)
    return None if match is None else -int(match[2]) if int(match[2]) else int(match[1])


def _wait_code(status: int) -> int:
    return -(status & 0x7F) if status & 0x7F else status >> 8


def moment(text: str) -> float | None:
    """Return the time that Slurm wrote in this machine's zone, in seconds since 1970."""
    try:
        return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))
    except (ValueError, OverflowError):
        return None


def nodes(text: str) -> list[Node] | None:
    """Return all pairs of node and partition of sinfo's table; None if this is none."""
    lines = table(text, NODE_FIELDS, "PARTITION")
    return None if lines is None else [
        Node(
            row["PartitionName"].rstrip("*"), row["NodeList"], row["NodeAddr"], gpus(row["Gres"]),
            sum(gpus(row["GresUsed"]).values()), row["StateLong"], int(row["CPUs"]) if row["CPUs"].isdigit() else 0,
            duration(row["Time"]), row["Available"],
        )
        for row in lines
    ]  # fmt: skip


def gpus(gres: str) -> dict[str, int]:
    """Return {type: number} of the GPUs in `gpu:a100:4(S:0-1),gpu:2,nic:1`; the type of the second is ""."""
    found: dict[str, int] = {}
    for item in re.sub(r"\([^()]*\)", "", gres).split(","):
        name, _, rest = item.strip().partition(":")
        if name == "gpu":
            kind, _, count = rest.rpartition(":")
            found[kind] = found.get(kind, 0) + (int(count) if count.isdigit() else 0)
    return found


def duration(text: str) -> float | None:
    """Return the seconds of `DAYS-HOURS:MINUTES:SECONDS`, from the right; None for `infinite` and the like."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(?:(\d+):)?(\d+)", text)
    if match is None:
        return None
    days, first, second, last = (int(part or 0) for part in match.groups())
    hours, minutes = (first, second) if match[3] is not None else (0, first)
    return float(((days * 24 + hours) * 60 + minutes) * 60 + last)


def option_names(text: str) -> set[str]:
    """Return the long options that `sbatch --help` names, those of the site's plugins among them."""
    return set(re.findall(r"^\s+(?:-\w,?\s+)?--([a-z][a-z0-9-]*)", text, re.M))
