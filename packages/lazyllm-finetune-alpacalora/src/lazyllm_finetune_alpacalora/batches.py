"""Batches: samples of like length together, padded to the longest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import Trainer
from transformers.trainer_pt_utils import get_length_grouped_indices

from .encode import IGNORED


class GroupedSampler(torch.utils.data.Sampler[int]):  # type: ignore[misc]
    """Shuffles by seed and epoch, the same in every process and after a resume, like lengths side by side."""

    def __init__(self, lengths: Sequence[int], batch: int, seed: int) -> None:
        self.lengths, self.batch, self.seed, self.epoch = list(lengths), batch, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        return iter(get_length_grouped_indices(self.lengths, self.batch, generator=generator))


class LoraTrainer(Trainer):  # type: ignore[misc]
    """transformers' Trainer with the sampler above."""

    def _get_train_sampler(self, train_dataset: Any = None) -> GroupedSampler:
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return GroupedSampler(self.train_dataset["length"], batch, self.args.seed)


class Collator:
    """Pads input_ids with `pad`, labels with -100, and masks the padding; to a multiple of `multiple` tokens."""

    def __init__(self, pad: int, multiple: int = 1) -> None:
        self.pad, self.multiple = pad, multiple

    def __call__(self, samples: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        longest = max(len(sample["input_ids"]) for sample in samples)
        width = -(-longest // self.multiple) * self.multiple
        batch: dict[str, list[list[int]]] = {"input_ids": [], "attention_mask": [], "labels": []}
        for sample in samples:
            ids, labels = sample["input_ids"], sample["labels"]
            room = width - len(ids)
            batch["input_ids"].append(ids + [self.pad] * room)
            batch["attention_mask"].append([1] * len(ids) + [0] * room)
            batch["labels"].append(labels + [IGNORED] * room)
        return {name: torch.tensor(rows) for name, rows in batch.items()}
