"""Which modules LoRA adapts and which are trained in full, resolved for the model at hand. No torch here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from lazyllm.errors import InputError, near

DEFAULT_TARGETS = "[wo,wqkv]"
DEFAULT_SAVED = "[tok_embeddings,output]"


@dataclass(frozen=True, slots=True)
class Modules:
    """A model's named modules: linear layers, its input embedding and its output head (None where it has none)."""

    names: Collection[str]
    linear: Collection[str]
    embedding: str
    head: str | None
    tied: bool


@dataclass(frozen=True, slots=True)
class Resolved:
    """Names for peft, and the sentences that say what was put in a default's place."""

    targets: tuple[str, ...]
    saved: tuple[str, ...]
    notes: tuple[str, ...]


def parse_names(value: Any, keyword: str) -> tuple[str, ...]:
    """Read `[a,b]`, `a,b` or a sequence of names; an empty one gives ()."""
    if value is None:
        return ()
    if isinstance(value, str):
        value = value.strip().removeprefix("[").removesuffix("]").split(",")
    if not isinstance(value, Sequence) or not all(isinstance(name, str) for name in value):
        raise InputError(f"{keyword}={value!r} is no list of module names; expected for example '[q_proj,v_proj]'.")
    names = tuple(dict.fromkeys(name.strip().strip("'\"") for name in value))
    return tuple(name for name in names if name)


def fits(name: str, modules: Collection[str]) -> bool:
    """Whether a (suffix) name stands for at least one of the modules."""
    return any(module == name or module.endswith("." + name) for module in modules)


def resolve(params: Mapping[str, Any], explicit: Collection[str], modules: Modules) -> Resolved:
    """Resolve lora_target_modules and modules_to_save; names given explicitly must exist."""
    notes: list[str] = []
    saved = _resolve_saved(params["modules_to_save"], "modules_to_save" in explicit, modules, notes)
    wanted = parse_names(params["lora_target_modules"], "lora_target_modules")
    if not wanted:
        raise InputError("lora_target_modules is empty; LoRA needs at least one module, or 'all-linear'.")
    if wanted == ("all-linear",):
        targets = _all_linear(modules, saved)
    elif all(fits(name, modules.linear) for name in wanted):
        targets = wanted
    elif "lora_target_modules" in explicit:
        _refuse(wanted, "lora_target_modules", modules.linear, modules.names)
        targets = wanted
    else:
        targets = _all_linear(modules, saved)
        notes.append(
            f"lora_target_modules {DEFAULT_TARGETS} does not fit this model; "
            f"LoRA adapts all its linear layers instead: {', '.join(targets)}."
        )
    both = sorted(set(targets) & set(saved))
    if both:
        raise InputError(
            f"{', '.join(both)}: named both in lora_target_modules and in modules_to_save; it can be in one only."
        )
    return Resolved(targets, saved, tuple(notes))


def _resolve_saved(value: Any, explicit: bool, modules: Modules, notes: list[str]) -> tuple[str, ...]:
    wanted = parse_names(value, "modules_to_save")
    embedding, head = leaf(modules.embedding), leaf(modules.head) if modules.head else None
    if explicit:
        _refuse(wanted, "modules_to_save", modules.names, modules.names)
    elif wanted and not all(fits(name, modules.names) for name in wanted):
        wanted = (embedding, head) if head else (embedding,)
        notes.append(
            f"modules_to_save {DEFAULT_SAVED} does not fit this model; "
            f"its embedding and output head are trained in full instead: {', '.join(wanted)}."
        )
    if modules.tied and head in wanted:
        wanted = tuple(dict.fromkeys(embedding if name == head else name for name in wanted))
        notes.append(f"{embedding} and {head} share one weight in this model; it is trained once and stays shared.")
    return wanted


def _all_linear(modules: Modules, saved: Collection[str]) -> tuple[str, ...]:
    layers = [n for n in modules.linear if n != modules.head and not any(n == s or n.endswith("." + s) for s in saved)]
    if not layers:
        raise InputError("This model has no linear layer that LoRA could adapt.")
    leaves = tuple(sorted({leaf(name) for name in layers}))
    kept_out = {leaf(name) for name in modules.linear if name not in layers}
    if kept_out & set(leaves) or any(name.isdigit() for name in leaves):
        return tuple(layers)
    return leaves


def _refuse(wanted: Sequence[str], keyword: str, usable: Collection[str], names: Collection[str]) -> None:
    for name in wanted:
        if not fits(name, names):
            refuse_unknown(keyword, name, usable)
        if not fits(name, usable):
            raise InputError(
                f"{keyword}: {name!r} is no linear layer, so LoRA cannot adapt it.",
                hint=f"Its linear layers are: {', '.join(_leaves(usable))}.",
            )


def refuse_unknown(keyword: str, name: str, modules: Collection[str]) -> NoReturn:
    """Raise the InputError that says what is near to an unknown module's name, and what there is."""
    known = _leaves(modules)
    nearest = near(name, known)
    none = " For none: modules_to_save='[]'." if keyword == "modules_to_save" else ""
    raise InputError(
        f"{keyword}: this model has no module {name!r}.{f' {nearest}' if nearest.startswith('Did') else ''}",
        hint=f"Its modules are: {', '.join(known)}.{none}",
    )


def _leaves(modules: Collection[str]) -> list[str]:
    return sorted({leaf(name) for name in modules if not leaf(name).isdigit()} - {""})


def leaf(name: str) -> str:
    return name.rsplit(".", 1)[-1]
