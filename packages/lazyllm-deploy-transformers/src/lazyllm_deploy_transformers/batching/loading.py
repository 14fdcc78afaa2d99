"""Loads a local model folder for serving."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lazyllm.components.model_files import brings_code
from lazyllm.errors import LazyLLMError, ModelError

from ..alternatives import installed
from ..architectures import refusal
from ..arguments import Settings
from ..checks import own_code


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in evaluation mode on its device, and its tokenizer."""

    model: Any
    tokenizer: Any


def load(settings: Settings, threads: int) -> Loaded:
    """Load the folder that `settings` names.

    Raises:
        ModelError: nothing that can be loaded, or a model whose attention the library does not batch; the latter is
            found before the weights are read.
    """
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(threads)
    device = _device(settings.device)
    folder = str(Path(settings.model).absolute())
    trust = settings.trust_remote_code
    part = "configuration"
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=trust, local_files_only=True)
        _check_class(config, trust)
        part = "tokenizer"
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=trust, local_files_only=True)
        part = "model"
        model, report = transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=_dtype(settings.dtype, config, device),
            device_map={"": device} if device != "cpu" else None,
            trust_remote_code=trust,
            local_files_only=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except LazyLLMError:
        raise
    except Exception as e:
        if not trust and "trust_remote_code" in str(e):
            raise own_code(settings.model, part) from e
        raise ModelError(f"The {part} of {settings.model!r} cannot be loaded: {_one_line(e)}") from e
    _check_weights(settings.model, report)
    _check_loaded(model)
    return Loaded(model.eval(), tokenizer)


def _device(wanted: str) -> str:
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise ModelError(
            f"device={wanted} (--device): PyTorch {torch.__version__} finds no CUDA device here.",
            hint="device=cpu (--device cpu)",
        )
    return wanted


def _dtype(wanted: str, config: Any, device: str) -> Any:
    import torch

    if wanted != "auto":
        return getattr(torch, wanted)
    found = getattr(config.get_text_config(), "dtype", None) or getattr(config, "dtype", None) or torch.float32
    if isinstance(found, str):
        found = getattr(torch, found, torch.float32)
    if device == "cpu" and not (found == torch.bfloat16 and _cpu_has_bfloat16()):
        return torch.float32
    return found


def _cpu_has_bfloat16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags or " bf16" in flags


def _check_class(config: Any, trust: bool) -> None:
    """Refuse, before the weights are read, a model class that does not hand the paged cache to its attention."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    reason = refusal(config.to_dict())
    if reason is None and not (trust and brings_code(config.to_dict())):
        if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
            reason = f"the transformers library has no text-generation class for model type {config.model_type!r}"
        elif not MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]._supports_attention_backend:
            reason = f"the attention of {config.model_type!r} models cannot use the library's paged cache"
    if reason:
        raise not_batched(config.model_type, reason)


def _check_weights(folder: str, report: dict[str, Any]) -> None:
    """Refuse weights that do not fill the model: the library would leave random numbers in their places."""
    missing, other = sorted(report["missing_keys"]), sorted(str(key[0]) for key in report["mismatched_keys"])
    for names, fault in ((missing, "lacks"), (other, "has other sizes for")):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise ModelError(
                f"The checkpoint in {folder!r} {fault} weights that config.json asks for: {', '.join(names[:3])}{more}."
            )


def _check_loaded(model: Any) -> None:
    if not model._supports_attention_backend:
        raise not_batched(type(model).__name__, "its attention cannot use the library's paged cache")


def not_batched(name: str, reason: str) -> ModelError:
    """Return the error for a model that must be served by something else."""
    return ModelError(f"{name} cannot be served by deploy.transformers: {reason}.", hint=installed())


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    text = text if " " in text else f"{type(error).__name__}: {text}"
    return text if len(text) <= 400 else text[:397] + "..."


def quiet_environment(threads: int) -> None:
    """Set, before torch and transformers are imported, what keeps them off the network and from spinning threads."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # idle OpenMP threads that spin take the cores from the HTTP thread, and on a busy machine from each other
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
