"""What the fields of a record's files may hold: a disk fault, a person or another program may have written them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Test = Callable[[Any], bool]


def number(value: Any) -> bool:
    """Say whether `value` is a time or duration in seconds: a finite number that arithmetic can take."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15  # NaN is not


def text(value: Any) -> bool:
    return isinstance(value, str)


def whole(value: Any) -> bool:
    return isinstance(value, int) and abs(value) < 1 << 31


def texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(text, value))


def or_none(test: Test) -> Test:
    return lambda value: value is None or test(value)


def holds(**tests: Test) -> Test:
    """Return the test for a JSON object that has at least these fields."""
    return lambda value: (
        isinstance(value, dict) and all(key in value and test(value[key]) for key, test in tests.items())
    )


def _ports(value: Any) -> bool:
    return isinstance(value, dict) and all(whole(port) and 0 < port < 65536 for port in value.values())


JOB: Mapping[str, tuple[Test, str]] = {
    "name": (text, "text"),
    "launcher": (text, "text"),
    "created": (number, "a time in seconds"),
    "node": (text, "text"),
    "owner": (or_none(holds(pid=whole, created=text)), "a process"),
    "host": (or_none(text), "text"),
    "grace": (number, "seconds"),
    "env": (lambda value: isinstance(value, dict) and texts([*value.values()]), "variables"),
    "secrets": (texts, "a list of names"),
    "service": (or_none(holds(port=text, path=text)), "a service with its port and path"),
    "scratch": (texts, "a list of paths"),
    "cwd": (or_none(text), "a path"),
}
"""Field of job.json → its test, and in words what it should be. All but the first two may be absent."""

STATUS: Mapping[str, Test] = {
    **dict.fromkeys(("state", "phase", "node"), text),
    **dict.fromkeys(("runner_created", "pid_created", "step", "signal", "reason", "hint"), or_none(text)),
    **dict.fromkeys(("runner_pid", "pid", "exit_code"), or_none(whole)),
    **dict.fromkeys(("started", "ended"), or_none(number)),
    "address": or_none(holds(host=text, ports=_ports)),
    "left": lambda value: isinstance(value, list) and all(map(whole, value)),
    **dict.fromkeys(("reads_notes", "unconfirmed"), lambda value: isinstance(value, bool)),
}
"""Field of status.json → its test. A field that fails it counts as absent."""


def damage(data: Mapping[str, Any]) -> str | None:
    """Return, in words, what is wrong with what job.json holds; None if nothing is."""
    for field, (test, expected) in JOB.items():
        if field in data and not test(data[field]):
            return f"{field!r} in its job.json is not {expected}"
    absent = [field for field in ("name", "launcher") if field not in data]
    return f"its job.json has no {absent[0]!r}" if absent else None


def sound(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a status.json that can be what they should be."""
    return {field: value for field, value in status.items() if field not in STATUS or STATUS[field](value)}
