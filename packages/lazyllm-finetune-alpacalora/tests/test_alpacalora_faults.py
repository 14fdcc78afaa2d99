"""Kills and full disks in the middle of the work: nothing half-published, and the same call goes on."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from lazyllm_finetune_alpacalora.places import LOCK

pytestmark = pytest.mark.faults


def partials(out: Path) -> list[Path]:
    return list(out.glob(".lazyllm_merge.*.partial"))


def kill_when(process: Any, condition: Any, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < end
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


def test_a_killed_training_resumes_and_gets_the_answers_right(
    model_maker: Any, trainer_maker: Any, steps_of: Any, alpaca_file: Path, answers: Any, pairs: Any, tmp_path: Path
) -> None:
    trainer = trainer_maker(model_maker(), train_on_inputs=False, save_steps=5)
    steps = steps_of(trainer.cmd(str(alpaca_file)))
    out = tmp_path / "out"
    kill_when(
        steps.start("train"), lambda: (out / "lazyllm_checkpoints/checkpoint-20/lazyllm_checkpoint.json").exists()
    )
    assert not (out / "lazyllm_lora").exists()
    assert not (out / "lazyllm_merge").exists()

    steps = steps_of(trainer.cmd(str(alpaca_file)))
    output = steps.run("train")
    assert "Resuming from step 2" in output or "Resuming from step 3" in output
    curve = [json.loads(line) for line in (out / "train_log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in curve] == [1, *range(3, 61, 3)]

    measured = json.loads((out / "summary.json").read_text())
    assert measured["tokens"] > 0
    # the second kill: while the merged folder is being made
    kill_when(steps.start("merge"), lambda: partials(out))
    assert not (out / "lazyllm_merge").exists()

    command = trainer.cmd(str(alpaca_file))
    steps = steps_of(command)
    assert "Resuming from step 60" in steps.run("train")
    assert not partials(out)
    again = json.loads((out / "summary.json").read_text())
    assert [again[key] for key in ("run", "tokens", "seconds")] == [
        measured[key] for key in ("run", "tokens", "seconds")
    ]
    assert again["resumed_from_step"] == 60
    steps.run("merge")
    assert answers(command.result) == dict(pairs)

    changed = trainer_maker(tmp_path / "base", train_on_inputs=False, save_steps=5, lora_r=4, max_steps=2)
    assert "another run" in steps_of(changed.cmd(str(alpaca_file))).run("train")


def test_a_resumed_training_ends_like_an_unbroken_one(
    model_maker: Any, trainer_maker: Any, steps_of: Any, alpaca_file: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    base = model_maker()
    options = {"max_steps": 12, "save_steps": 4, "batch_size": 2, "micro_batch_size": 1}
    adapter = tmp_path / "out" / "lazyllm_lora" / "adapter_model.safetensors"
    steps_of(trainer_maker(base, **options).cmd(str(alpaca_file))).run("train")
    unbroken = load_file(adapter)
    for checkpoint in (tmp_path / "out" / "lazyllm_checkpoints").glob("checkpoint-*"):
        if checkpoint.name != "checkpoint-8":
            (checkpoint / "lazyllm_checkpoint.json").unlink()
    output = steps_of(trainer_maker(base, **options).cmd(str(alpaca_file))).run("train")
    assert "Resuming from step 8" in output
    resumed = load_file(adapter)
    assert all(resumed[name].allclose(unbroken[name], atol=1e-6) for name in unbroken)


def test_a_stopped_training_says_from_where_it_goes_on(
    model_maker: Any, trainer_maker: Any, steps_of: Any, alpaca_file: Path, tmp_path: Path
) -> None:
    trainer = trainer_maker(model_maker(), max_steps=500, save_steps=5)
    process = steps_of(trainer.cmd(str(alpaca_file))).start("train")
    mark = tmp_path / "out/lazyllm_checkpoints/checkpoint-10/lazyllm_checkpoint.json"
    while not mark.exists():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.005)
    process.terminate()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
    told = [line for line in output.splitlines() if not line.startswith("[progress]")]
    assert told[-2].startswith("Checkpoint at step 5 saved: if it is stopped or killed, the same training")
    assert re.fullmatch(
        r"Stopped at step \d+: the same training started again goes on from the checkpoint at step \d+.", told[-1]
    )


def limit(size: int) -> Any:
    """A disk that takes no file of more than `size` bytes."""

    def set_limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return set_limit


def test_a_full_disk_leaves_the_former_model_alone(
    model_maker: Any, trainer_maker: Any, steps_of: Any, alpaca_file: Path, tmp_path: Path
) -> None:
    trainer = trainer_maker(model_maker(), max_steps=2)
    steps = steps_of(trainer.cmd(str(alpaca_file)))
    steps.run("train")
    steps.run("merge")
    merged = tmp_path / "out" / "lazyllm_merge"
    before = {file.name: file.read_bytes() for file in merged.iterdir()}
    output = steps.run("merge", code=1, preexec_fn=limit(200_000))
    assert "nothing was published" in output
    assert {file.name: file.read_bytes() for file in merged.iterdir()} == before

    adapter = (tmp_path / "out" / "lazyllm_lora" / "adapter_model.safetensors").read_bytes()
    output = steps_of(trainer.cmd(str(alpaca_file))).run("train", code=1, preexec_fn=limit(100_000))
    assert "nothing was published" in output
    assert (tmp_path / "out" / "lazyllm_lora" / "adapter_model.safetensors").read_bytes() == adapter


def test_two_trainings_never_share_a_folder(
    model_maker: Any, trainer_maker: Any, steps_of: Any, alpaca_file: Path, tmp_path: Path
) -> None:
    trainer = trainer_maker(model_maker(), max_steps=500)
    steps = steps_of(trainer.cmd(str(alpaca_file)))
    first = steps.start("train")
    try:
        while not (tmp_path / "out" / LOCK).exists():
            assert first.poll() is None
            time.sleep(0.02)
        time.sleep(0.2)
        assert "Another training is at work" in steps.run("train", code=1)
    finally:
        first.kill()
        first.communicate()
