"""What a loaded model is made of, as `targets.resolve` asks for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from lazyllm.errors import ModelError

from .targets import Modules, leaf, refused_in
from .tied import is_tied


def modules_of(model: Any) -> Modules:
    """Name a model's modules for `targets.resolve`."""
    import torch
    from transformers.pytorch_utils import Conv1D

    named = {name: module for name, module in model.named_modules() if name}
    name_of = {id(module): name for name, module in named.items()}
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if id(embedding) not in name_of:
        raise ModelError(f"{type(model).__name__} has no input embedding to be found, so it cannot be fine-tuned here.")
    linear = [
        name
        for name, module in named.items()
        if isinstance(module, (torch.nn.Linear, Conv1D)) and _gives_vectors(module)
    ]
    return Modules(
        names=tuple(named),
        linear=tuple(linear),
        embedding=name_of[id(embedding)],
        head=name_of.get(id(head)),
        tied=is_tied(model),
        refused=refused_in(model.config.model_type) | _taken_for_experts(model, linear),
        experts=_experts(named),
    )


def _gives_vectors(module: Any) -> bool:
    """Whether a linear layer of a model's own class gives a vector for a vector: a router may give several things."""
    import torch

    if type(module).__module__.startswith(("torch.", "transformers.pytorch_utils")):
        return True
    try:
        with torch.no_grad():
            return isinstance(module(module.weight.new_zeros(1, module.weight.shape[1])), torch.Tensor)
    except (RuntimeError, TypeError, ValueError, LookupError):  # it asks for something else than a vector
        return False


def _experts(named: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the last two parts of the names of weights that hold all experts of a layer."""
    found = {
        ".".join([*name.split("."), weight][-2:])
        for name, module in named.items()
        if "expert" in f"{name} {type(module).__name__}".lower()
        for weight, parameter in module.named_parameters(recurse=False)
        if parameter.dim() > 2
    }
    return tuple(sorted(found))


def _taken_for_experts(model: Any, linear: Collection[str]) -> set[str]:
    """Return the names under which peft would adapt a layer's fused experts, and not the linear layers so called."""
    try:
        from peft import LoraConfig
        from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers
    except ImportError:  # an older peft, which does no such thing
        return set()

    def taken(name: str) -> bool:
        config = LoraConfig(target_modules=[name])
        try:
            convert_peft_config_for_transformers(config, model=model, conversions=None)
        except ValueError:  # it takes this name together with others only
            return True
        return name not in (config.target_modules or ())

    return {name for name in {leaf(name) for name in linear} if taken(name)}
