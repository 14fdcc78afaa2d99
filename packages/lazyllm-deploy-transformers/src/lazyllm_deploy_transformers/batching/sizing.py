"""How much memory the batching takes: decided from the model's shape before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass

from lazyllm.errors import InputError

PAGE = 64
_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Shape:
    """What the cache's size depends on. `masks`: attention masks that the library keeps, 0 with flash attention."""

    layers: int
    kv_heads: int
    head_dim: int
    itemsize: int
    masks: int
    context: int


@dataclass(frozen=True, slots=True)
class Sizing:
    """The chosen numbers: `tokens` of KV cache in `blocks` pages, `bytes` for them and for the attention masks."""

    max_model_len: int
    max_num_seqs: int
    max_batch_tokens: int
    blocks: int
    bytes: int

    @property
    def tokens(self) -> int:
        return self.blocks * PAGE


def check_length(asked: int | None, context: int) -> None:
    """Raise an InputError if `asked` tokens are more than the model's `context`."""
    if asked is not None and asked > context:
        raise InputError(
            f"max_model_len={asked} (--max-model-len) is more than the {context} tokens of the model's context."
        )


def plan(
    shape: Shape,
    *,
    max_num_seqs: int,
    max_model_len: int | None,
    max_batch_tokens: int | None,
    limit: int | None,
    free: int,
) -> Sizing:
    """Return the sizes for a CPU.

    Wanted is room for `max_num_seqs` sequences of full length; it ends at `limit` bytes, by default a quarter of the
    `free` bytes and at most 4 GiB. The context shrinks to what fits, unless `max_model_len` was asked for.

    Raises:
        InputError: the asked length is above the model's, or one sequence of it does not fit.
    """
    check_length(max_model_len, shape.context)
    batch = max(max_batch_tokens or 512, max_num_seqs)
    # keys and values, a column of each mask, and the library's read index (8 bytes)
    per_token = (
        2 * shape.layers * shape.kv_heads * shape.head_dim * shape.itemsize + shape.masks * batch * shape.itemsize + 8
    )
    budget = limit if limit is not None else min(free // 4, 4 * _GIB)
    length = max_model_len or shape.context
    # one page more than the sequences need: the library stops admitting prompts when the last blocks are in use
    pages = -(-length // PAGE) + 1
    affordable = budget // (per_token * PAGE)
    if affordable < pages:
        length = (affordable - 1) * PAGE
        if max_model_len is not None or length < PAGE:
            raise InputError(
                f"A KV cache of {budget / _GIB:.2f} GiB does not hold one sequence of {max_model_len or PAGE} tokens "
                f"({pages * PAGE * per_token / _GIB:.2f} GiB).",
                hint="give more kv_cache_memory (--kv-cache-memory), or ask for less max_model_len or max_batch_tokens",
            )
        pages = affordable
    blocks = min(max_num_seqs * pages, affordable)
    return Sizing(length, max_num_seqs, batch, blocks, blocks * PAGE * per_token)
