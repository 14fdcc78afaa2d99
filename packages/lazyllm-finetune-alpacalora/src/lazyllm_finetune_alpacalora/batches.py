"""Batches: samples of like length together, padded to the longest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from transformers import Trainer
from transformers.trainer_pt_utils import get_length_grouped_indices

from .encode import IGNORED

Sample = tuple[torch.Tensor, torch.Tensor]


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
        # of all processes: which samples share a step does not depend on how many there are
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        return GroupedSampler(self.train_dataset.lengths, batch, self.args.seed)


class Samples(torch.utils.data.Dataset[Sample]):  # type: ignore[misc]
    """Samples as tensors in memory: a row of a `datasets.Dataset` takes longer to fetch than a small model to learn."""

    def __init__(self, rows: Iterable[dict[str, Any]]) -> None:
        self.rows = [(torch.tensor(row["input_ids"]), torch.tensor(row["labels"])) for row in rows]
        self.lengths = [len(ids) for ids, _ in self.rows]
        self.largest = max(int(ids.max()) for ids, _ in self.rows)  # token id

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        return self.rows[index]


class Collator:
    """Pads input_ids with `pad`, labels with -100, and masks the padding; to a multiple of `multiple` tokens."""

    def __init__(self, pad: int, multiple: int = 1) -> None:
        self.pad, self.multiple = pad, multiple

    def __call__(self, samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
        longest = max(len(ids) for ids, _ in samples)
        shape = (len(samples), -(-longest // self.multiple) * self.multiple)
        batch = {
            "input_ids": torch.full(shape, self.pad),
            "attention_mask": torch.zeros(shape, dtype=torch.long),
            "labels": torch.full(shape, IGNORED),
        }
        for row, (ids, labels) in enumerate(samples):
            batch["input_ids"][row, : len(ids)] = ids
            batch["attention_mask"][row, : len(ids)] = 1
            batch["labels"][row, : len(ids)] = labels
        return batch
