"""Tokens per second of finetune.alpacalora beside a plain transformers Trainer: same model, data, LoRA and steps.

    python benchmarks/alpacalora.py [--layers 4] [--hidden 256] [--samples 256] [--rounds 2]

Both run in processes of their own, in turn. Useful tokens are counted (no padding), from the first step's
beginning to the last step's end; the start-up is from the process's start to the end of the first step.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

STARTED = time.time()
LORA = {"r": 8, "lora_alpha": 32, "lora_dropout": 0.05, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
BATCH, MICRO, RATE = 16, 4, 5e-4


def make(folder: Path, layers: int, hidden: int, samples: int) -> None:
    """Write a random Llama with a byte-level tokenizer, and records of 20 to 400 words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    plain = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate([*alphabet, "<eos>"])}, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="<eos>", pad_token="<eos>")
    tokenizer.save_pretrained(folder / "base")
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=hidden * 11 // 4,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 32,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder / "base")
    rng = random.Random(0)
    records = [
        {"instruction": "Repeat.", "output": " ".join(rng.choice("abcdef") for _ in range(rng.randint(20, 400)))}
        for _ in range(samples)
    ]
    (folder / "train.json").write_text(json.dumps(records))


def plain_trainer(folder: Path) -> None:
    """The comparison: what one writes with transformers and peft alone."""
    from peft import LoraConfig, get_peft_model
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        DataCollatorForSeq2Seq,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    from lazyllm_finetune_alpacalora.template import load_template

    tokenizer = AutoTokenizer.from_pretrained(folder / "base")
    template = load_template("alpaca")
    texts = [template.prompt(r) + r["output"] + "<eos>" for r in json.loads((folder / "train.json").read_text())]
    data = [{"input_ids": ids, "labels": list(ids)} for ids in tokenizer(texts)["input_ids"]]
    figures: dict[str, float] = {}

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *_: object, **__: object) -> None:
            self.begin = time.monotonic()

        def on_step_end(self, args: object, state: SimpleNamespace, control: object, **__: object) -> None:
            figures.setdefault("seconds_to_first_step", time.time() - STARTED)
            figures["seconds"] = time.monotonic() - self.begin
            figures["tokens"] = state.num_input_tokens_seen

    import torch

    cuda = torch.cuda.is_available()
    model = AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.bfloat16 if cuda else torch.float32)
    Trainer(
        model=get_peft_model(model, LoraConfig(**LORA)),
        args=TrainingArguments(
            output_dir=str(folder / "plain"),
            per_device_train_batch_size=MICRO,
            gradient_accumulation_steps=BATCH // MICRO,
            num_train_epochs=1,
            learning_rate=RATE,
            logging_steps=10,
            save_strategy="no",
            include_num_input_tokens_seen="non_padding",
            bf16=cuda,
            use_cpu=not cuda,
            disable_tqdm=True,
            report_to="none",
        ),
        train_dataset=data,
        data_collator=DataCollatorForSeq2Seq(tokenizer, padding=True),
        callbacks=[Clock],
    ).train()
    (folder / "plain.json").write_text(json.dumps(figures))


def ours(folder: Path) -> dict[str, float]:
    from lazyllm_finetune_alpacalora.trainer import AlpacaloraFinetune

    trainer = AlpacaloraFinetune(
        folder / "base",
        str(folder / "out"),
        batch_size=BATCH,
        micro_batch_size=MICRO,
        num_epochs=1,
        learning_rate=RATE,
        val_set_size=0,
        lora_target_modules="all-linear",
        modules_to_save="",
        save_steps=100_000,
    )
    trainer._launcher = SimpleNamespace(ngpus=1)  # type: ignore[assignment]
    command = trainer.cmd(folder / "train.json")
    (folder / "config.json").write_text(command.files["run.json"])
    argv = [sys.executable, "-m", "lazyllm_finetune_alpacalora.train", str(folder / "config.json")]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **command.env})
    found: dict[str, float] = json.loads((folder / "out" / "summary.json").read_text())
    return found


def theirs(folder: Path) -> dict[str, float]:
    argv = [sys.executable, __file__, "--plain", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    found: dict[str, float] = json.loads((folder / "plain.json").read_text())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.plain:
        plain_trainer(args.plain)
        return
    rates: dict[str, list[float]] = {"alpacalora": [], "plain Trainer": []}
    starts: dict[str, list[float]] = {"alpacalora": [], "plain Trainer": []}
    for number in range(args.rounds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            os.environ["LAZYLLM_HOME"] = str(folder / "home")
            make(folder, args.layers, args.hidden, args.samples)
            runs = [("alpacalora", ours), ("plain Trainer", theirs)]
            for who, run in runs if number % 2 == 0 else reversed(runs):
                found = run(folder)
                rates[who].append(found["tokens"] / found["seconds"])
                starts[who].append(found["seconds_to_first_step"])
                print(f"{who}: {rates[who][-1]:.0f} tok/s, first step after {starts[who][-1]:.1f} s", flush=True)
    a, b = (statistics.median(rates[who]) for who in rates)
    c, d = (statistics.median(starts[who]) for who in starts)
    print(f"tokens/s: alpacalora {a:.0f}, plain Trainer {b:.0f}, ratio {a / b:.2f}")
    print(f"seconds to the first step: alpacalora {c:.1f}, plain Trainer {d:.1f}, ratio {c / d:.2f}")


if __name__ == "__main__":
    main()
