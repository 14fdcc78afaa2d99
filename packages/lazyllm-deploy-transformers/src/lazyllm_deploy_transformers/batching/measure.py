"""Reads a loaded model's shape and the cache that the library made for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lazyllm.common.memory import free_memory

from ..arguments import Settings
from .sizing import PAGE, Shape, Sizing, check_length, plan

_LONGEST = 131_072


def shape_of(model: Any) -> Shape:
    """Return what the size of `model`'s cache depends on."""
    from transformers.generation.continuous_batching.cache import group_layers_by_attn_type
    from transformers.generation.continuous_batching.utils import find_head_dim, find_num_key_value_heads

    config = model.config.get_text_config()
    context = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or _LONGEST
    return Shape(
        layers=config.num_hidden_layers,
        kv_heads=find_num_key_value_heads(config),
        head_dim=find_head_dim(config),
        itemsize=model.dtype.itemsize,
        masks=len(group_layers_by_attn_type(config)),
        context=int(context),
    )


def plan_for(model: Any, settings: Settings) -> Sizing:
    """Return the sizes for `model`; on a GPU without --kv-cache-memory `blocks` is 0: the library takes its share."""
    shape = shape_of(model)
    on_cpu = model.device.type == "cpu"
    batch = settings.max_batch_tokens or (512 if on_cpu else 2048)
    if not on_cpu and settings.kv_cache_memory is None:
        length, sequences = settings.max_model_len or shape.context, settings.max_num_seqs
        check_length(length, shape.context)
        return Sizing(length, sequences, max(batch, sequences), 0, 0)
    return plan(
        shape,
        max_num_seqs=settings.max_num_seqs,
        max_model_len=settings.max_model_len,
        max_batch_tokens=batch,
        limit=settings.kv_cache_memory,
        free=free_memory() if on_cpu else 0,
    )


def measured(sizing: Sizing, cache: Any) -> Sizing:
    """Return `sizing` with what the library's `cache` really holds; the context shrinks to what one sequence gets."""
    if sizing.blocks:
        return sizing
    blocks = int(cache.num_blocks)
    length = min(sizing.max_model_len, (blocks - 1) * PAGE)
    return replace(sizing, blocks=blocks, max_model_len=length, bytes=int(cache.cache_tensor.numel()))
