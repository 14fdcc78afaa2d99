"""Functions as jobs: `launch("module:function", 1, key="value")`. Arguments and result travel as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from .command import Command, Ref, Step

NAME = re.compile(r"[A-Za-z_]\w*(\.\w+)*:[A-Za-z_]\w*(\.\w+)*")
CALL = str(Path(__file__).with_name("call.py"))


def calls(name: Any) -> bool:
    """Say whether `name` names a function rather than a command."""
    return isinstance(name, str) and NAME.fullmatch(name) is not None


def call_of(name: str, args: tuple[Any, ...], kw: Mapping[str, Any], python: str) -> Command:
    """Return the command that calls a function under `python`; an InputError if its arguments are not JSON's values."""
    try:
        given = json.dumps({"args": args, "kw": dict(kw)})
    except (TypeError, ValueError) as error:
        raise InputError(
            f"The arguments of {name} cannot be sent to another process: {error}.",
            hint="Pass text, numbers, lists, dicts and paths as text.",
        ) from None
    step = Step((python, CALL, name, Ref("file", "call.json")), name)
    return Command((step,), files={"call.json": given}, returns=True, title=name)
