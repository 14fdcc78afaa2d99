"""Chooses tokens in the batch, each row by its own request's parameters.

The library samples a whole batch in one way (`do_sample`) and sorts the vocabulary up to twice a step for
per-request temperature, top_k and top_p. This list of processors takes the place of its own: rows that ask for the
most likely token pass through untouched, the others are drawn here and marked, so that the library's argmax finds
what was drawn. That is also what makes seeds, penalties, biases and log-probabilities possible for one request.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.generation.continuous_batching.cb_logits_processors import ContinuousBatchingLogitsProcessorList
from transformers.generation.continuous_batching.requests import FutureRequestState
from transformers.generation.logits_process import LogitsProcessorList

from .sampling import Sampling, TokenRecord

KEY = "sampling"


class Sampler(ContinuousBatchingLogitsProcessorList):  # type: ignore[misc]
    """The processors of one manager. `tokens` counts every token computed."""

    def __init__(self) -> None:
        super().__init__(LogitsProcessorList())
        self.tokens = 0
        self._special: list[tuple[int, Sampling]] = []

    def check_kwargs(self, kwargs: dict[str, Any]) -> None:
        """Accept what `Engine.submit` passes: the parameters were checked when the request came in."""

    def prepare_tensor_args(
        self, requests_in_batch: list[FutureRequestState], arg_storage: torch.Tensor
    ) -> torch.Tensor:
        """Note which rows of the coming step need more than argmax; a row is a request that gets a token."""
        row = 0
        self._special = []
        for request in requests_in_batch:
            if request.has_new_token:
                sampling = request.state.logit_processor_kwargs.get(KEY)
                if sampling is not None and not sampling.plain:
                    self._special.append((row, sampling))
                row += 1
        self.tokens += row
        self.do_processing = bool(self._special)
        return arg_storage

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, args: torch.Tensor) -> torch.Tensor:
        """Return `scores` [rows, vocabulary] whose argmax is each row's token."""
        raw = {row: scores[row].log_softmax(-1) for row, s in self._special if s.logprobs is not None}
        for row, sampling in self._special:
            _adjust(scores[row], sampling)
        drawn = [(row, s) for row, s in self._special if s.temperature > 0]
        shared = [(row, s) for row, s in drawn if s.seed is None]
        if shared:
            rows = torch.tensor([row for row, _ in shared], device=scores.device)
            scores[rows, draw(scores[rows], [s for _, s in shared])] = torch.inf
        # a seeded row is drawn alone: what its neighbours ask for must not change its numbers
        for row, sampling in drawn:
            if sampling.seed is not None:
                scores[row, draw(scores[row : row + 1], [sampling], _generator(sampling, scores.device))] = torch.inf
        for row, sampling in self._special:
            if sampling.penalised or sampling.logprobs is not None:
                token = int(scores[row].argmax())
                sampling.counts[token] = sampling.counts.get(token, 0) + 1
                if sampling.logprobs is not None:
                    sampling.records.append(_record(raw[row], token, sampling.logprobs))
        return scores


def draw(scores: torch.Tensor, wishes: list[Sampling], generator: torch.Generator | None = None) -> torch.Tensor:
    """Return one token per row of `scores` [rows, vocabulary], drawn as each row's `Sampling` wishes."""
    device, size = scores.device, scores.shape[-1]

    def column(values: list[float]) -> torch.Tensor:
        return torch.tensor(values, device=device, dtype=scores.dtype).unsqueeze(-1)

    values, ids = scores / column([s.temperature for s in wishes]), None
    kept = [min(s.top_k or size, size) for s in wishes]
    if max(kept) < size:
        values, ids = values.topk(max(kept))
    elif min(kept) < size or any(s.top_p < 1 for s in wishes):
        values, ids = values.sort(descending=True)
    if min(kept) < values.shape[-1]:
        values = values.masked_fill(torch.arange(values.shape[-1], device=device) >= column([*kept]), -torch.inf)
    probs = values.softmax(-1)
    if any(s.top_p < 1 for s in wishes):
        before = probs.cumsum(-1) - probs
        cut = before >= column([s.top_p for s in wishes])
        cut[:, 0] = False
        probs = probs.masked_fill(cut, 0.0)
    if any(s.min_p for s in wishes):
        least = probs.amax(-1, keepdim=True) * column([s.min_p for s in wishes])
        probs = probs.masked_fill(probs < least, 0.0)
    # argmax of p / Exp(1) draws from p without a cumulative sum or a copy to the host
    noise = torch.empty_like(probs).exponential_(generator=generator).clamp_min_(torch.finfo(probs.dtype).tiny)
    picks = (probs / noise).argmax(-1, keepdim=True)
    return (picks if ids is None else ids.gather(-1, picks)).squeeze(-1)


def _generator(sampling: Sampling, device: torch.device) -> torch.Generator:
    if sampling.generator is None:
        sampling.generator = torch.Generator(device).manual_seed((sampling.seed or 0) % 2**63)
    return sampling.generator


def _adjust(row: torch.Tensor, s: Sampling) -> None:
    """Apply biases and penalties to one row of scores, in place."""
    if s.repetition_penalty != 1.0:
        ids = torch.tensor(sorted(s.seen | s.counts.keys()), device=row.device)
        old = row[ids]
        row[ids] = torch.where(old > 0, old / s.repetition_penalty, old * s.repetition_penalty)
    if s.counts and (s.presence_penalty or s.frequency_penalty):
        ids = torch.tensor(list(s.counts), device=row.device)
        times = torch.tensor(list(s.counts.values()), device=row.device, dtype=row.dtype)
        row[ids] -= s.presence_penalty + s.frequency_penalty * times
    if s.logit_bias:
        ids = torch.tensor(list(s.logit_bias), device=row.device)
        row[ids] += torch.tensor(list(s.logit_bias.values()), device=row.device, dtype=row.dtype)


def _record(logprobs: torch.Tensor, token: int, alternatives: int) -> TokenRecord:
    top: tuple[tuple[int, float], ...] = ()
    if alternatives:
        values, ids = logprobs.topk(min(alternatives, logprobs.shape[-1]))
        top = tuple(zip(ids.tolist(), values.tolist(), strict=True))
    return TokenRecord(float(logprobs[token]), top)
