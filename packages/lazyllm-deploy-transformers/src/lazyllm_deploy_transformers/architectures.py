"""Which models the library can batch, told from config.json alone, without importing torch or transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Model types of transformers 5.23 with a causal language model whose batches would be wrong or fail. Found by giving
# every type a tiny random model and comparing the batch's log-probabilities with those of the model alone.
# no `_supports_attention_backend`: such classes do not hand the paged cache to their attention
_NO_BACKEND = """
    bailing_hybrid bamba bart big_bird bigbird_pegasus biogpt blenderbot blenderbot-small bloom blt clvp codegen
    cpmant falcon falcon_h1 falcon_mamba git gpt_neo gpt_neox_japanese gptj inkling2_text inkling_text jamba
    kimi_linear mamba mamba2 marian mbart megatron-bert mpt musicgen musicgen_melody mvp nemotron_h olmo_hybrid
    openai-gpt pegasus plbart prophetnet qwen3_5 qwen3_5_moe qwen3_5_moe_text qwen3_5_text qwen3_next qwen4_exp
    qwen4_exp_text recurrent_gemma reformer rembert roformer rwkv stablelm trocr whisper xglm xlm xlnet xlstm zamba
    zamba2
"""
# keys and values of another shape than the cache's, shared between layers, or attention that is computed differently
_OTHER_SHAPES = """
    diffllama doge gemma3n gemma3n_text gemma4 gemma4_text gemma4_unified gemma4_unified_text gpt_bigcode hrm_text
    jetmoe mimo_v2_flash nemotron
"""
# encoders: they look at the words to come, which a batch with a cache cannot
_ENCODERS = """
    bert bert-generation camembert data2vec-text electra ernie roberta roberta-prelayernorm roc_bert xlm-roberta
    xlm-roberta-xl xmod
"""
NOT_BATCHED = frozenset(f"{_NO_BACKEND} {_OTHER_SHAPES}".split())
ENCODERS = frozenset(_ENCODERS.split())
_LAYERS = frozenset({"full_attention", "sliding_attention"})


def refusal(config: Mapping[str, Any]) -> str | None:
    """Return why a model with this config.json cannot be batched, None if nothing speaks against it."""
    kind = config.get("model_type")
    if config.get("is_encoder_decoder"):
        return f"{kind!r} is an encoder-decoder model; only decoder-only language models are batched"
    if kind in ENCODERS:
        return f"{kind!r} models are encoders; only decoder-only language models are batched"
    if kind in NOT_BATCHED:
        return f"the attention or recurrent state of {kind!r} models does not fit the library's paged cache"
    for part in ("vision_config", "audio_config"):
        if config.get(part):
            return f"{kind!r} takes more than text ({part} in config.json)"
    text = config.get("text_config")
    config = text if isinstance(text, Mapping) else config
    layers = config.get("layer_types")
    if isinstance(layers, list) and (other := sorted({str(t) for t in layers} - _LAYERS)):
        return f"it has layers of type {', '.join(other)}; only full and sliding attention are batched"
    if config.get("attn_logit_softcapping"):
        return "it caps its attention scores (attn_logit_softcapping), which the batched attention would leave out"
    if config.get("kv_lora_rank"):
        return "it compresses its keys and values (multi-head latent attention, kv_lora_rank)"
    return None
