"""The main job, whole: base model and data → fine-tuned, merged model → served at a URL → asked.

Without arguments a tiny base model is made on the spot, so that nothing is downloaded and a laptop will do. With
`--base` and `--data` the same script takes a real model and your data. It runs where `LAZYLLM_DEFAULT_LAUNCHER` says.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a tiny model is many times slower with more threads than cores

from lazyllm import AlpacaPrompter, JsonFormatter, TrainableModule, deploy, finetune
from lazyllm.errors import LazyLLMError
from lazyllm_finetune_alpacalora.data import read
from lazyllm_finetune_alpacalora.template import load_template

HERE = Path(__file__).resolve().parent
TINY: dict[str, Any] = {
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
    parser.add_argument("--data", type=Path, default=HERE / "capitals.json", help="training data; default: %(default)s")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/quickstart"), help="folder for results; default: %(default)s"
    )
    parser.add_argument("--question", help="what is asked; default: the first instruction of the data")
    parser.add_argument("--keywords", type=json.loads, default={}, help="JSON object of keywords for the trainer")
    return parser.parse_args()


def step(number: int, text: str) -> None:
    print(f"\n[{number}/5] {text}", flush=True)


def question_of(row: dict[str, Any]) -> tuple[Any, str] | None:
    """Return what is asked by a training example, and the right answer, in a chat the last one that is text.

    None for one with a text to work on, and for a chat with functions or without such an answer.
    """
    if "messages" not in row:
        return None if row.get("input") else ({"instruction": row["instruction"]}, row["output"])
    chat = row["messages"]
    told = [i for i, m in enumerate(chat) if i and m["role"] == "assistant" and m.get("content")]
    if not told or row.get("tools") or any(m.get("tool_calls") for m in chat[: told[-1] + 1]):
        return None
    return {"messages": chat[: told[-1]]}, chat[told[-1]]["content"]


def wrong_answers(answers: list[str]) -> list[str]:
    """Return for each answer one that is not right: that of another example, or one of its own if all are alike."""
    known = list(dict.fromkeys(answers))
    turn = max(1, (len(known) - 1) // 2)
    others = known[turn:] + known[:turn] if len(known) > 1 else ["I do not know."]
    wrong = dict(zip(known, others, strict=True))
    return [wrong[answer] for answer in answers]


def make_tiny_base(folder: Path, rows: list[dict[str, Any]]) -> None:
    from tiny_model import make_base

    template = load_template(TINY["prompt_template_name"])
    make_base(folder, [template.prompt(row) for row in rows], wrong_answers([row["output"] for row in rows]))


def main() -> None:
    options = arguments()
    began = time.monotonic()
    rows = list(read(options.data))
    chat = "messages" in rows[0]
    examples = [found for found in map(question_of, rows) if found]
    if chat and not options.base:
        sys.exit("--data has messages: give --base, a model with a chat template; the tiny one has none.")
    if not examples and not options.question:
        sys.exit("--data: no example can be asked as it stands; give --question to ask something of your own.")
    base, prompter, sampling = options.base, AlpacaPrompter("{instruction}"), {"max_new_tokens": 64, "temperature": 0}
    if options.question:
        text = options.question
        question: Any = {"messages": [{"role": "user", "content": text}]} if chat else {"instruction": text}
    else:
        question = examples[0][0]
        text = question["messages"][-1]["content"] if chat else question["instruction"]

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
    model.prompt(None if chat else prompter)

    step(2, "Serving the base model, to see what it answers before")
    with TrainableModule(base) as untuned:
        untuned.deploy_method(deploy.transformers).prompt(None if chat else prompter).start()
        before = untuned(question, **sampling)

    step(3, f"Fine-tuning it on {options.data.name} ({len(rows)} examples), merging, and serving the result")
    with model.update():
        step(4, f"Asking the tuned model at {model.url}")
        after = model(question, **sampling)
        right = sum(model(asked, **sampling).strip() == answer.strip() for asked, answer in examples[:10])
        capital = None
        if options.data.name == "capitals.json":
            capital = model.formatter(JsonFormatter("[capital]"))(question, **sampling)

    step(5, f"Done in {time.monotonic() - began:.0f} s")
    print(f"  question          {text}")
    print(f"  before            {before.strip()!r}")
    print(f"  after             {after.strip()!r}")
    if capital is not None:
        print(f"  through JsonFormatter('[capital]'): {capital}")
    if examples:
        print(f"  right answers     {right} of the first {min(10, len(examples))} examples")
    print(f"  merged model      {options.out / 'lazyllm_merge'}")
    print(f"  loss curve        {options.out / 'training_loss.png'}")
    print(f"\n  serve it again:   lazyllm deploy --detach {options.out}")


if __name__ == "__main__":
    try:
        main()
    except LazyLLMError as error:
        sys.exit(f"error: {error}")
