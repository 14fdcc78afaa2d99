"""Loading base model and tokenizer, and putting LoRA on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from lazyllm.errors import ModelError

from .step import explain
from .targets import Modules, Resolved, fits
from .tied import tie


@dataclass(frozen=True, slots=True)
class Device:
    """Where and in which precision is trained: `kind` cuda or cpu, `precision` bf16, fp16 or float32."""

    kind: str
    precision: str

    @classmethod
    def here(cls) -> Device:
        import torch

        if not torch.cuda.is_available():
            return cls("cpu", "float32")
        return cls("cuda", "bf16" if torch.cuda.is_bf16_supported() else "fp16")

    @property
    def dtype(self) -> Any:
        import torch

        return {"bf16": torch.bfloat16, "fp16": torch.float16, "float32": torch.float32}[self.precision]


def load_tokenizer(folder: str, trust: bool) -> Any:
    """Load a tokenizer, without the network."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=trust)
    except Exception as error:  # whatever a broken tokenizer file raises
        raise _unloadable("tokenizer", folder, error) from error


def load_base(folder: str, dtype: Any, trust: bool) -> Any:
    """Load a causal language model on the CPU in `dtype` ("auto": as its files have it).

    A ModelError if it cannot be loaded, or if its files lack weights, which would be random ones then.
    """
    from transformers import AutoModelForCausalLM

    quiet()
    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, trust_remote_code=trust, output_loading_info=True
        )
    except Exception as error:  # whatever a broken weight file raises
        raise _unloadable("model", folder, error) from error
    missing = sorted(found["missing_keys"])
    if missing:
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise ModelError(f"The model in {folder} is incomplete: config.json asks for weights that it lacks: {shown}.")
    if getattr(model, "loss_type", "") is None:  # a class of a name without a loss: transformers warns, and takes this
        model.loss_type = "ForCausalLM"
    return model


# what peft does of itself where it says so, and what is done here instead of it
_KNOWN = ("fan_in_fan_out is set to", "You have requested `ensure_weight_tying`")


def quiet() -> None:
    """Silence bars, notices of deprecation and warnings of peft's that say nothing to who trains."""
    import logging as standard
    import warnings

    from transformers.utils import logging

    logging.disable_progress_bar()
    standard.getLogger("transformers.trainer_utils").setLevel(standard.ERROR)  # how it sorts checkpoints
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    for start in _KNOWN:
        warnings.filterwarnings("ignore", start, UserWarning)


def _unloadable(what: str, folder: str, error: Exception) -> ModelError:
    hint = None
    if "trust_remote_code" in str(error):
        hint = "If you trust the code in that folder: trust_remote_code=True (or LAZYLLM_TRUST_REMOTE_CODE=1)."
    return ModelError(f"The {what} in {folder} cannot be loaded: {type(error).__name__}: {error}", hint=hint)


def add_lora(model: Any, params: Mapping[str, Any], resolved: Resolved, modules: Modules) -> Any:
    """Wrap a model for training; what is trained is kept in float32, a weight shared by embedding and head stays so.

    Raises:
        ModelError: peft does not take the model, or not these modules of it.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    shared = modules.tied and any(fits(name, (modules.embedding,)) for name in resolved.saved)
    # peft's own tying gives the head a new layer, without a bias; by it the adapter alone is whole for others, too
    by_peft = shared and getattr(model.get_output_embeddings(), "bias", None) is None
    saved = [*resolved.saved, *([modules.head] if by_peft and modules.head else [])]
    lora = LoraConfig(
        r=params["lora_r"],
        lora_alpha=params["lora_alpha"],
        lora_dropout=params["lora_dropout"],
        target_modules=list(resolved.targets),
        modules_to_save=list(saved) or None,
        ensure_weight_tying=by_peft,
        bias="none",
        task_type="CAUSAL_LM",
    )
    try:
        wrapped = get_peft_model(model, lora)
    except Exception as error:  # it refuses by all sorts of them
        if explain(error):
            raise
        raise ModelError(
            f"peft cannot adapt {type(model).__name__} so: {error}",
            hint="Name other modules by lora_target_modules or modules_to_save.",
        ) from error
    if by_peft:
        wrapped.peft_config["default"].modules_to_save = saved  # who loads the adapter needs the head's name as well
    if shared:
        tie(wrapped)
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)
    return wrapped


SMALL = 50_000_000


def set_threads(size: int, world: int = 1) -> None:
    """Let a model of `size` parameters on a CPU use its cores, shared by `world` processes.

    A small one keeps one thread: more cost it many times what they bring, above all on a busy machine.
    """
    import os

    import torch

    if size >= SMALL:
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // world))


def trainable(model: Any) -> tuple[int, int]:
    """Return how many parameters are trained, and how many there are, tied ones once."""
    parameters: Collection[Any] = {id(p): p for p in model.parameters()}.values()
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)
