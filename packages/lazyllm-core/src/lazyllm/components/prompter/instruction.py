"""An instruction: its system and its user part, its slots, and how an input fills them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...errors import PromptError
from .template import SLOT, Template

ISA, ISE = "<!lazyllm-spliter!>", "</!lazyllm-spliter!>"
"""The marks around the user part of an instruction."""

TOOL_TOKENS = ("tool_start_token", "tool_args_token", "tool_end_token")
"""Slots of an instruction that the model's own marks fill."""

EXTRA_PREFIX = "Here are some extra messages you can referred to:\n\n"


class Instruction:
    """An instruction template, cut at its marks."""

    def __init__(self, text: str) -> None:
        before, _, after = text.partition(ISA)
        user, end, tail = after.partition(ISE)
        marks = text.count(ISA), text.count(ISE)
        if marks != (0, 0) and (marks != (1, 1) or not end):
            raise PromptError(f"The user part of an instruction stands between one {ISA} and one {ISE} behind it.")
        self.system = Template(before + tail)
        self.user = Template(user)
        names = dict.fromkeys(self.system.names + self.user.names)
        self.slots = tuple(name for name in names if name not in TOOL_TOKENS)
        self.fixed: tuple[str, str] | None = None

    def bind(self, tokens: Mapping[str, str]) -> Instruction:
        """Return the instruction with the model's tool marks in it."""
        bound = object.__new__(Instruction)
        bound.system, bound.user = self.system.bind(tokens), self.user.bind(tokens)
        bound.slots = self.slots
        bound.fixed = None if self.slots else (bound.system.fill({}), bound.user.fill({}))
        return bound

    def fill(self, texts: Mapping[str, str]) -> tuple[str, str]:
        """Return the system and the user part with their slots filled."""
        return self.fixed or (self.system.fill(texts), self.user.fill(texts))

    def read(self, given: Any, takes_input: bool) -> tuple[dict[str, str], Any]:
        """Return the texts for the slots and what of the input is left for the user's turn ("" if nothing is).

        Raises:
            PromptError: a slot's key is missing, a key or text has no place, or a value is no text.
        """
        if isinstance(given, dict):
            return self._read_keys(given, takes_input)
        if given is None:
            return self._read_keys({}, takes_input)
        if isinstance(given, (str, int)):
            text = str(given)
            if not self.slots and (takes_input or not text):
                return {}, text
            if len(self.slots) == 1:
                return {self.slots[0]: text}, ""
            wanted = f"slots {_names(self.slots)}: give a dict with these keys" if self.slots else "no slot"
            raise PromptError(f"The input {text!r:.60} is one text, and the instruction has {wanted}.")
        if isinstance(given, tuple) and len(given) == 1:
            return self.read(given[0], takes_input)
        if isinstance(given, list) and takes_input and not self.slots:
            return {}, given
        wanted = f"a dict with the keys {_names(self.slots)}" if self.slots else "text, an int or a dict"
        raise PromptError(f"Expected {wanted} as the input, not {type(given).__name__}.")

    def _read_keys(self, given: Mapping[str, Any], takes_input: bool) -> tuple[dict[str, str], Any]:
        texts: dict[str, str] = {}
        for name in self.slots:
            if name in given:
                value = given[name]
                texts[name] = value if type(value) is str else _slot_text(name, value)
        others = [key for key in given if key not in texts] if len(given) > len(texts) else []
        if len(texts) == len(self.slots) and len(others) <= takes_input:
            return texts, given[others[0]] if others else ""
        faults = []
        if missing := [name for name in self.slots if name not in texts]:
            faults.append(f"lacks {_names(missing)}")
        if len(others) > takes_input:
            faults.append(f"has {_names(others)} without a slot")
        more = " and at most one more, whose value is the user's input" if takes_input else ""
        raise PromptError(f"The input {' and '.join(faults)}. Expected keys: {_names(self.slots) or 'none'}{more}.")


def _slot_text(name: str, value: Any) -> str:
    if type(value) is str:
        return value
    if isinstance(value, (str, int, float)):
        return str(value)
    raise PromptError(f"Slot {{{name}}} takes text or a number, not {type(value).__name__}.")


def _names(names: Iterable[Any]) -> str:
    return ", ".join(map(repr, names))


def extra_keys_text(extro_keys: Any, prefix: str, extra_keys: Any = None) -> str:
    """Return `prefix` and a headed slot for each key; "" for no keys.

    Raises:
        PromptError: both spellings are given, or keys that are no names of letters, digits and underscores.
    """
    if extro_keys is not None and extra_keys is not None:
        raise PromptError("extro_keys and extra_keys are two spellings of one argument: give one of them.")
    keys = extra_keys if extro_keys is None else extro_keys
    if keys is None or keys == "":
        return ""
    keys = [keys] if isinstance(keys, str) else keys
    if not isinstance(keys, (list, tuple)):
        raise PromptError(f"Extra keys are a name or a list of names, not {type(keys).__name__}.")
    for key in keys:
        if not isinstance(key, str) or not SLOT.fullmatch(f"{{{key}}}"):
            raise PromptError(f"The extra key {key!r} is no name of letters, digits and underscores.")
    return prefix + "".join(f"### {key}:\n{{{key}}}\n\n" for key in keys) if keys else ""


def instruction_parts(instruction: Any) -> tuple[str, str]:
    """Return the system and the user part of what an author wrote: text, `{'system': …, 'user': …}` or None."""
    if instruction is None or isinstance(instruction, str):
        return instruction or "", ""
    if not isinstance(instruction, dict):
        raise PromptError(f"An instruction is text or a dict with system and user, not {type(instruction).__name__}.")
    if unknown := [key for key in instruction if key not in ("system", "user")]:
        raise PromptError(f"An instruction has the keys 'system' and 'user', not {_names(unknown)}.")
    parts = [instruction.get(key) or "" for key in ("system", "user")]
    if not all(isinstance(part, str) for part in parts):
        raise PromptError("The system and the user part of an instruction are text.")
    return parts[0], parts[1]
