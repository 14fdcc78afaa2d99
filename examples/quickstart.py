"""The main job, whole: base model and data → fine-tuned, merged model → served at a URL → asked.

Without arguments a tiny base model is made on the spot, so that nothing is downloaded and a laptop will do. With
`--base` and `--data` the same script takes a real model and your data. It runs where `LAZYLLM_DEFAULT_LAUNCHER` says.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a tiny model is many times slower with more threads than cores

from lazyllm import AlpacaPrompter, JsonFormatter, TrainableModule, deploy, finetune

HERE = Path(__file__).resolve().parent
TINY = {
    "batch_size": 6,
    "micro_batch_size": 6,
    "num_epochs": 90,
    "learning_rate": 5e-3,
    "lora_r": 16,
    "val_set_size": 0,
    "prompt_template_name": "lazyllm",
}
"""Keywords of the trainer for the tiny model; a real one does well with the defaults"""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, help="folder of a model; default: a tiny one is made")
    parser.add_argument("--data", type=Path, default=HERE / "capitals.json", help="alpaca JSON; default: %(default)s")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/quickstart"), help="folder for results; default: %(default)s"
    )
    parser.add_argument("--question", help="what is asked; default: the first instruction of the data")
    parser.add_argument("--keywords", type=json.loads, default={}, help="JSON object of keywords for the trainer")
    return parser.parse_args()


def step(number: int, text: str) -> None:
    print(f"\n[{number}/5] {text}", flush=True)


def make_tiny_base(folder: Path, rows: list[dict[str, str]]) -> None:
    from tiny_model import make_base

    prompter = AlpacaPrompter("{instruction}")
    prompts = [prompter.generate_prompt({"instruction": row["instruction"]}) for row in rows]
    answers = [row["output"] for row in rows]
    make_base(folder, prompts, answers[5:] + answers[:5])


def main() -> None:
    options = arguments()
    began = time.monotonic()
    rows = json.loads(options.data.read_text("utf-8"))
    question = options.question or rows[0]["instruction"]
    base = options.base

    if base is None:
        base = options.out / "base"
        step(1, f"Making a tiny base model in {base}")
        make_tiny_base(base, rows)
    else:
        step(1, f"Taking the base model {base}")
    keywords = {**({} if options.base else TINY), **options.keywords}

    model = TrainableModule(base, options.out.resolve())
    model.finetune_method(finetune.alpacalora, **keywords).trainset(options.data).mode("finetune")
    model.deploy_method(deploy.transformers)
    model.prompt(AlpacaPrompter("{instruction}"))

    step(2, "Serving the base model, to see what it answers before")
    with TrainableModule(base) as untuned:
        untuned.deploy_method(deploy.transformers).prompt(AlpacaPrompter("{instruction}")).start()
        before = untuned({"instruction": question}, max_new_tokens=64, temperature=0)

    step(3, f"Fine-tuning it on {options.data.name} ({len(rows)} examples), merging, and serving the result")
    with model.update():
        step(4, f"Asking the tuned model at {model.url}")
        after = model({"instruction": question}, max_new_tokens=64, temperature=0)
        right = sum(
            model({"instruction": row["instruction"]}, max_new_tokens=64, temperature=0).strip()
            == row["output"].strip()
            for row in rows[:10]
        )
        capital = None
        if options.data.name == "capitals.json":
            capital = model.formatter(JsonFormatter("[capital]"))(
                {"instruction": question}, max_new_tokens=64, temperature=0
            )

    step(5, f"Done in {time.monotonic() - began:.0f} s")
    print(f"  question          {question}")
    print(f"  before            {before.strip()!r}")
    print(f"  after             {after.strip()!r}")
    if capital is not None:
        print(f"  through JsonFormatter('[capital]'): {capital}")
    print(f"  right answers     {right} of the first {min(10, len(rows))} examples")
    print(f"  merged model      {options.out / 'lazyllm_merge'}")
    print(f"  loss curve        {options.out / 'training_loss.png'}")
    print(f"\n  serve it again:   lazyllm deploy --detach {options.out}")


if __name__ == "__main__":
    main()
