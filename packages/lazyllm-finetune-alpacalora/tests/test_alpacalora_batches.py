"""Padding and order of batches, and the picture of the curve."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.main


def test_batches_are_padded_masked_and_ordered_alike(tmp_path: Path) -> None:
    from lazyllm_finetune_alpacalora.batches import Collator, GroupedSampler, Samples
    from lazyllm_finetune_alpacalora.curve import draw_curve

    samples = Samples([{"input_ids": [5] * n, "labels": [-100] * (n - 1) + [5]} for n in (2, 3)])
    batch = Collator(pad=9, multiple=4)([samples[0], samples[1]])
    assert batch["input_ids"].tolist() == [[5, 5, 9, 9], [5, 5, 5, 9]]
    assert batch["labels"].tolist() == [[-100, 5, -100, -100], [-100, -100, 5, -100]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 0]]

    lengths = [n % 17 + 1 for n in range(64)]
    sampler = GroupedSampler(lengths, batch=4, seed=1)
    first = list(sampler)
    assert sorted(first) == list(range(64))
    assert first == list(GroupedSampler(lengths, batch=4, seed=1))
    sampler.set_epoch(1)
    assert list(sampler) != first
    padding = sum(max(lengths[i] for i in first[at : at + 4]) * 4 for at in range(0, 64, 4)) - sum(lengths)
    plain = sum(max(lengths[at : at + 4]) * 4 for at in range(0, 64, 4)) - sum(lengths)
    assert padding < plain

    draw_curve([{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0, "eval_loss": 1.5}], tmp_path / "x.png", r"$\a$ 名")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.glob("*.png")] == ["x.png"]


def test_the_log_begins_with_its_first_line(tmp_path: Path) -> None:
    from types import SimpleNamespace

    from lazyllm_finetune_alpacalora.callbacks import Progress, read_log

    log = tmp_path / "train_log.jsonl"

    def begin(step: int) -> tuple[Progress, SimpleNamespace]:
        made = Progress(log, 0.0)
        state = SimpleNamespace(
            **{"global_step": step, "num_input_tokens_seen": 0, "is_world_process_zero": True, "max_steps": 4}, epoch=0
        )
        made.on_train_begin(None, state, None)
        return made, state

    def steps(start: int, *names: int) -> list[int]:
        made, state = begin(start)
        for name in names:
            state.global_step = name
            made.on_log(None, state, None, {"loss": 1.0, "learning_rate": 0.1})
        return [line["step"] for line in read_log(log)]

    begin(0)
    assert not log.exists()
    assert steps(0, 1, 2, 3) == [1, 2, 3]
    assert steps(2) == [1, 2, 3]  # until there is something else to say
    assert steps(2, 3, 4) == [1, 2, 3, 4]
    assert steps(0, 1) == [1]


def test_which_samples_share_a_step_does_not_depend_on_the_number_of_processes() -> None:
    from types import SimpleNamespace
    from typing import Any

    from lazyllm_finetune_alpacalora.batches import LoraTrainer

    def order(micro: int, accumulation: int, world: int) -> list[int]:
        args = SimpleNamespace(
            train_batch_size=micro, gradient_accumulation_steps=accumulation, world_size=world, seed=3
        )
        data = SimpleNamespace(lengths=[n % 17 + 1 for n in range(4096)])
        trainer: Any = SimpleNamespace(args=args, train_dataset=data)
        return list(LoraTrainer._get_train_sampler(trainer))

    assert order(4, 4, 1) == order(4, 2, 2) == order(2, 2, 4)
    assert order(4, 4, 1) != order(4, 2, 1)


def test_a_checkpoint_is_told_of_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import signal
    from types import SimpleNamespace

    from lazyllm_finetune_alpacalora import checkpoints
    from lazyllm_finetune_alpacalora.runs import COMPLETE, Run

    clock = SimpleNamespace(monotonic=lambda: clock.now, now=0.0)
    monkeypatch.setattr(checkpoints, "time", clock)
    args = SimpleNamespace(output_dir=str(tmp_path))
    state = SimpleNamespace(global_step=0, is_world_process_zero=True)
    told = checkpoints.Checkpoints(Run("id", "print"))
    before = signal.getsignal(signal.SIGTERM)
    told.on_train_begin(args, state, None)
    for step, saves in ((10, True), (20, True), (25, False), (30, False), (40, True)):
        state.global_step, clock.now = step, clock.now + 200
        told.on_step_end(args, state, None)
        if not saves:
            continue
        (tmp_path / f"checkpoint-{step}").mkdir()
        told.on_save(args, state, None)
        assert (tmp_path / f"checkpoint-{step}" / COMPLETE).exists()
    told.on_train_end(args, state, None)
    assert signal.getsignal(signal.SIGTERM) == before == signal.SIG_DFL
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[3] for line in said] == ["10", "20", "20"]
    assert all("the same training started again goes on from the last one" in line for line in said)
