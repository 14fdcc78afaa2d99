"""A language model of 0.9 million parameters, made and trained in seconds: small enough for any machine, with the
file layout of a large one. It can write, but gives wrong answers, so that fine-tuning has work to do.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content }}{{ eos_token }}{% else %}"
    "### Instruction:\n{{ m.content }}\n\n### Response:\n{% endif %}{% endfor %}"
)


def make_tokenizer(texts: Sequence[str], size: int = 1024) -> Any:
    """Return a byte-level BPE tokenizer that can write any text, with merges learnt from `texts`."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        texts, vocab_size=size, min_frequency=2, special_tokens=["<pad>", "<s>", "</s>"], show_progress=False
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=trained._tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def make_model(tokenizer: Any) -> Any:
    """Return an untrained Llama for the tokenizer: 4 layers of 128 values, 4 heads, 2 of keys and values."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=352,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=1024,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def make_base(folder: Path, prompts: Sequence[str], answers: Sequence[str], steps: int = 110, seed: int = 0) -> None:
    """Write a base model to `folder` that has learnt to answer each prompt with the answer in the same place."""
    import torch
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    torch.manual_seed(seed)
    dice = random.Random(seed)
    tokenizer = make_tokenizer([prompt + answer for prompt, answer in zip(prompts, answers, strict=True)] * 2)
    asked = [tokenizer(prompt).input_ids for prompt in prompts]
    told = [tokenizer(answer + tokenizer.eos_token).input_ids for answer in answers]
    model = make_model(tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    for _ in range(steps):
        chosen = dice.sample(range(len(prompts)), min(8, len(prompts)))
        width = max(len(asked[i]) + len(told[i]) for i in chosen)
        ids = torch.full((len(chosen), width), tokenizer.pad_token_id)
        labels = torch.full_like(ids, -100)
        for row, i in enumerate(chosen):
            end = len(asked[i]) + len(told[i])
            ids[row, :end] = torch.tensor(asked[i] + told[i])
            labels[row, :end] = ids[row, :end]
        model(input_ids=ids, attention_mask=ids != tokenizer.pad_token_id, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.generation_config.do_sample = False
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
