"""Which modules LoRA adapts and which are trained in full, resolved for the model at hand. No torch here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lazyllm.errors import InputError, near

DEFAULT_TARGETS = "[wo,wqkv]"
DEFAULT_SAVED = "[tok_embeddings,output]"


# Mixers of these model types compute with the weights of these layers themselves, past an adapter: peft refuses them.
MAMBA_TYPES = frozenset(("falcon_h1", "falcon_mamba", "mamba", "mamba2", "nemotron_h"))
MAMBA_REFUSED = frozenset(("conv1d", "out_proj"))


@dataclass(frozen=True, slots=True)
class Modules:
    """A model's named modules: linear layers, its input embedding and its output head (None where it has none).

    Args:
        tied: embedding and head share one weight.
        refused: names of linear layers that peft does not adapt in this model.
        experts: names of weights that hold all experts of a layer, and so are no linear layers.
    """

    names: Collection[str]
    linear: Collection[str]
    embedding: str
    head: str | None
    tied: bool
    refused: Collection[str] = ()
    experts: Collection[str] = ()


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


def parse_targets(value: Any) -> tuple[str, ...]:
    """Read lora_target_modules; an InputError if it names nothing."""
    names = parse_names(value, "lora_target_modules")
    if not names:
        raise InputError("lora_target_modules is empty; LoRA needs at least one module, or 'all-linear'.")
    return names


def refused_in(model_type: Any) -> frozenset[str]:
    """Return the names of layers that peft never adapts in models of a type."""
    return MAMBA_REFUSED if model_type in MAMBA_TYPES else frozenset()


def check_apart(targets: Collection[str], saved: Collection[str]) -> None:
    """Refuse modules that are named in both keywords."""
    if both := sorted(set(targets) & set(saved)):
        raise InputError(
            f"{', '.join(both)}: named both in lora_target_modules and in modules_to_save; it can be in one only."
        )


def check_refused(wanted: Collection[str], refused: Collection[str]) -> None:
    """Refuse names of layers that peft does not adapt."""
    if found := [name for name in wanted if leaf(name) in refused]:
        raise InputError(
            f"lora_target_modules: {found[0]!r} cannot be adapted in this model: peft refuses it.",
            hint="Without lora_target_modules, LoRA adapts all the linear layers that peft takes.",
        )


def check_linear(wanted: Collection[str], linear: Collection[str]) -> None:
    """Refuse names that stand for no linear layer."""
    for name in wanted:
        if not fits(name, linear):
            raise InputError(
                f"lora_target_modules: {name!r} is no linear layer, so LoRA cannot adapt it.",
                hint=f"Its layers with a matrix are: {', '.join(_leaves(linear))}.",
            )


def check_names(keyword: str, wanted: Collection[str], names: Collection[str], shown: Collection[str] = ()) -> None:
    """Refuse names that stand for no module: say what is near to the first, and what there is (or `shown` of it)."""
    for name in wanted:
        if fits(name, names):
            continue
        known = _leaves(shown or names)
        nearest = near(name, known)
        none = " For none: modules_to_save='[]'." if keyword == "modules_to_save" else ""
        raise InputError(
            f"{keyword}: this model has no module {name!r}.{f' {nearest}' if nearest.startswith('Did') else ''}",
            hint=f"Its modules are: {', '.join(known)}.{none}",
        )


def fits(name: str, modules: Collection[str]) -> bool:
    """Whether a (suffix) name stands for at least one of the modules."""
    return any(module == name or module.endswith("." + name) for module in modules)


def resolve(params: Mapping[str, Any], explicit: Collection[str], modules: Modules) -> Resolved:
    """Resolve lora_target_modules and modules_to_save; names given explicitly must exist."""
    notes: list[str] = []
    saved = _resolve_saved(params["modules_to_save"], "modules_to_save" in explicit, modules, notes)
    targets = _resolve_targets(params["lora_target_modules"], "lora_target_modules" in explicit, modules, saved, notes)
    check_apart(targets, saved)
    return Resolved(targets, saved, tuple(notes))


def _resolve_targets(
    value: Any, explicit: bool, modules: Modules, saved: Collection[str], notes: list[str]
) -> tuple[str, ...]:
    wanted = parse_targets(value)
    if wanted != ("all-linear",):
        if explicit:
            check_refused(wanted, modules.refused)
            check_names("lora_target_modules", wanted, modules.names, shown=modules.linear)
            check_linear(wanted, modules.linear)
            _check_head(wanted, modules)
        if all(fits(name, modules.linear) for name in wanted):
            return wanted
    targets, left_out = _all_linear(modules, saved)
    if wanted != ("all-linear",):
        notes.append(
            f"lora_target_modules {DEFAULT_TARGETS} does not fit this model; "
            f"LoRA adapts all its linear layers instead: {', '.join(targets)}."
        )
    if left_out:
        notes.append(f"{', '.join(left_out)} left out: peft refuses to adapt it in this model.")
    if modules.experts:
        notes.append(f"The experts stay as they are, being no linear layers: {', '.join(modules.experts)}.")
    return targets


def _check_head(wanted: Collection[str], modules: Modules) -> None:
    """Refuse LoRA on a head whose weight is the embedding's too: merged into the one, it would change the other."""
    shared = [name for name in wanted if modules.tied and modules.head and fits(name, (modules.head,))]
    if shared:
        raise InputError(
            f"lora_target_modules: {shared[0]!r} shares its weight with {leaf(modules.embedding)} in this model, "
            "so LoRA cannot adapt it alone.",
            hint=f"Train both in full: modules_to_save='[{leaf(modules.embedding)}]'.",
        )


def _resolve_saved(value: Any, explicit: bool, modules: Modules, notes: list[str]) -> tuple[str, ...]:
    wanted = parse_names(value, "modules_to_save")
    embedding, head = leaf(modules.embedding), leaf(modules.head) if modules.head else None
    if explicit:
        check_names("modules_to_save", wanted, modules.names)
    elif wanted and not all(fits(name, modules.names) for name in wanted):
        wanted = (embedding, head) if head else (embedding,)
        notes.append(
            f"modules_to_save {DEFAULT_SAVED} does not fit this model; "
            f"its embedding and output head are trained in full instead: {', '.join(wanted)}."
        )
    if modules.tied and modules.head and any(fits(name, (modules.head,)) for name in wanted):
        wanted = tuple(dict.fromkeys(embedding if fits(name, (modules.head,)) else name for name in wanted))
        notes.append(f"{embedding} and {head} share one weight in this model; it is trained once and stays shared.")
    return wanted


def _all_linear(modules: Modules, saved: Collection[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the linear layers to adapt, by the last part of their names where that tells them, and those left out."""
    usable = [n for n in modules.linear if n != modules.head and not any(fits(s, (n,)) for s in saved)]
    layers = [name for name in usable if leaf(name) not in modules.refused]
    if not layers:
        raise InputError("This model has no linear layer that LoRA could adapt.")
    left_out = tuple(sorted({leaf(name) for name in usable} & set(modules.refused)))
    leaves = tuple(sorted({leaf(name) for name in layers}))
    kept_out = {leaf(name) for name in modules.linear if name not in layers}
    if kept_out & set(leaves) or any(name.isdigit() for name in leaves):
        return tuple(layers), left_out
    return leaves, left_out


def _leaves(modules: Collection[str]) -> list[str]:
    return sorted({leaf(name) for name in modules if not leaf(name).isdigit()} - {""})


def leaf(name: str) -> str:
    return name.rsplit(".", 1)[-1]
