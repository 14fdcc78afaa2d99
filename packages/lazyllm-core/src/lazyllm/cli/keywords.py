"""Options of trainers and engines on the command line: `--lora-r 16` is the keyword `lora_r=16`."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from typing import Any

import click

from ..errors import InputError, near
from ..module.choose import OPTION

NAMED_TYPES = {"bool": bool, "int": int, "float": float, "str": str}
KINDS = {bool: "true or false", int: "whole number", float: "number", str: "text"}
BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
NOT_OPTIONS = ("self", "base_model", "target_path", "launcher", "stream")


def keywords_of(cls: Any) -> dict[str, Any]:
    """Return the keywords that `cls` takes, with their defaults: those of its constructor and of its `defaults`."""
    return {**{name: parameter.default for name, parameter in _parameters(cls).items()}, **cls.defaults}


def types_of(cls: Any) -> dict[str, type]:
    """Return the types of the keywords of `cls`, as far as annotations, its `types` or its `defaults` tell them."""
    told = {name: NAMED_TYPES.get(str(p.annotation).partition(" | ")[0]) for name, p in _parameters(cls).items()}
    given = {name: type(value) for name, value in cls.defaults.items() if isinstance(value, (bool, int, float, str))}
    said = {name: kind for base in reversed(cls.__mro__) for name, kind in vars(base).get("types", {}).items()}
    return {**{name: kind for name, kind in told.items() if kind}, **given, **said}


def _parameters(cls: Any) -> dict[str, inspect.Parameter]:
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = inspect.signature(cls.__init__).parameters
    return {n: p for n, p in found.items() if n not in NOT_OPTIONS and p.kind in named and p.default is not p.empty}


def parse(cls: Any, args: Sequence[str], command: click.Command) -> tuple[list[str], dict[str, Any]]:
    """Return the positional arguments and the keywords for `cls` that are left on a command line.

    A keyword is written `--name value` or `--name=value`; one that is true or false may stand alone.

    Raises:
        InputError: an option that neither `cls` nor the command knows, or a value of another type.
    """
    known, types = keywords_of(cls), types_of(cls)
    spelling = {name.replace("-", "_"): name for name in known}
    options = [o.lstrip("-").replace("-", "_") for p in command.params for o in p.opts if o.startswith("--")]
    who = cls.component_name().partition(".")[2]
    positional: list[str] = []
    found: dict[str, Any] = {}
    beside: dict[str, str] = {}  # what stands after an option that is true or false → the option
    rest = list(args)
    while rest:
        item = rest.pop(0)
        if not item.startswith("--"):
            positional.append(item)
            continue
        name, equals, value = item[2:].partition("=")
        plain = name.replace("-", "_")
        if plain not in spelling:
            raise InputError(
                f"{cls.component_name()} has no option --{name}. {near(plain, [*spelling, *options])}",
                hint=f"lazyllm {command.name} --{OPTION[str(command.name)]} {who} --keywords lists them.",
            )
        kind = types.get(spelling[plain])
        if not equals:
            if kind is bool and rest:
                beside[rest[0]] = name
            value = _next_value(name, rest, kind)
        found[spelling[plain]] = convert(name, value, kind)
    if len(positional) > 1 and (stray := next((word for word in positional if word in beside), None)):
        convert(beside[stray], stray, bool)
    return positional, found


def _next_value(name: str, rest: list[str], kind: type | None) -> str:
    if kind is bool and (not rest or rest[0].lower() not in BOOLEANS):
        return "true"
    if not rest:
        raise InputError(f"--{name} needs a value.")
    return rest.pop(0)


def one_positional(args: Sequence[str], what: str, command: click.Command) -> str:
    """Return the only positional argument; none or several are an error."""
    if len(args) == 1 and args[0]:
        return args[0]
    said = f"unexpected {args[1]!r}" if len(args) > 1 else "it is missing"
    raise InputError(f"lazyllm {command.name} takes one {what}: {said}.", hint=f"lazyllm {command.name} --help")


def convert(name: str, text: str, kind: type | None) -> Any:
    """Return `text` as the keyword's type; if that is not known, as the JSON value that it is, else as text."""
    if kind is bool:
        if text.lower() in BOOLEANS:
            return BOOLEANS[text.lower()]
        raise InputError(f"--{name} {text!r} is neither true nor false.")
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            raise InputError(f"--{name} {text!r} is no {KINDS[kind]}.") from None
    if kind is str:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def show(cls: Any, as_json: bool) -> None:
    """Print the keywords of `cls` and their defaults."""
    known, types = keywords_of(cls), types_of(cls)
    if as_json:
        click.echo(json.dumps(known, ensure_ascii=False, default=str))
        return
    click.echo(f"Options of {cls.component_name()}, with their defaults:")
    width = max((len(name) for name in known), default=0)
    for name, value in known.items():
        kind = f"  ({KINDS[types[name]]})" if value is None and types.get(name) in KINDS else ""
        click.echo(f"  --{name.replace('_', '-'):<{width}}  {value!r}{kind}")
