"""Functions as jobs: `launch("module:function", 1, key="value")`. Arguments and result travel as JSON."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lazyllm.errors import InputError
from lazyllm.jobs.command import Command, Ref, Step
from lazyllm.jobs.job import Job

NAME = re.compile(r"[A-Za-z_]\w*(\.\w+)*:[A-Za-z_]\w*(\.\w+)*")
CALL = str(Path(__file__).with_name("call.py"))


class FunctionJob(Job):
    """A call of a function of some module; its `return_value` is what the function returned, None before the end."""

    @property
    def return_value(self) -> Any:
        try:
            return json.loads((self._started().folder / "result.json").read_bytes())
        except FileNotFoundError:
            return None


def calls(name: Any) -> bool:
    """Say whether `name` names a function rather than a command."""
    return isinstance(name, str) and NAME.fullmatch(name) is not None


def call_of(name: str, args: tuple[Any, ...], kw: Mapping[str, Any]) -> Command:
    """Return the command that calls a function; an InputError if its arguments are not JSON's kinds of values."""
    try:
        given = json.dumps({"args": args, "kw": dict(kw)})
    except (TypeError, ValueError) as error:
        raise InputError(
            f"The arguments of {name} cannot be sent to another machine: {error}.",
            hint="Pass text, numbers, lists, dicts and paths as text.",
        ) from None
    step = Step((sys.executable, CALL, name, Ref("file", "call.json")), name)
    return Command((step,), files={"call.json": given}, title=name)
