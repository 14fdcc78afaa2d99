"""How fast JsonFormatter reads an answer, compared with json.loads, and what hostile answers cost.

    python benchmarks/json_formatter.py

The exit code is 1 if the share of json.loads' speed on a clean 1 MB answer is below 60 %, or a hostile answer of ten
times the length takes more than thirty times as long.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from lazyllm.components.formatter import JsonFormatter
from lazyllm.errors import FormatError

RECORDS = [
    {"id": i, "title": f'Title "{i}"', "describe": "a line\nand {braces} " * 3, "n": [i, i / 3]} for i in range(7500)
]
CLEAN = json.dumps(RECORDS)
HOSTILE = {
    "[": "[",
    "{": "{",
    '["': '["',
    '{"a":': '{"a":',
    "[1,": "[1,",
    "prose [x": "[x",
    "quotes": '"',
    "escapes": '["\\"',
    "two readings": '",[",',
}


def seconds(call: Callable[[], Any], repeats: int) -> float:
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def fails(answer: str) -> None:
    try:
        JsonFormatter()(answer)
    except FormatError:
        return
    raise SystemExit(f"something was found in {answer[:40]!r}…")


def main() -> int:
    form = JsonFormatter()
    loads = seconds(lambda: json.loads(CLEAN), 15)
    print(f"{'a ' + str(round(len(CLEAN) / 1e6, 2)) + ' MB answer':34}{'ms':>8}{'share of json.loads':>22}")
    print(f"{'json.loads':34}{loads * 1e3:8.1f}{'100 %':>22}")
    answers = {
        "clean": CLEAN,
        "prose and a fence around": f"Here you {{are}}, see [a]:\n```json\n{CLEAN}\n```\nDone.",
        "a selector [:][title]": CLEAN,
    }
    missed = 0
    for name, answer in answers.items():
        chosen = JsonFormatter("[:][title]") if "selector" in name else form
        took = seconds(lambda f=chosen, a=answer: f(a), 15)  # type: ignore[misc]
        missed += loads / took < 0.6
        print(f"{name:34}{took * 1e3:8.1f}{loads / took * 100:20.0f} %")
    print(f"\n{'hostile answer of':34}{'100 kB, ms':>12}{'1 MB, ms':>12}{'growth':>8}")
    for name, piece in HOSTILE.items():
        small, large = (seconds(lambda n=n, p=piece: fails("[" + p * (n // len(p))), 3) for n in (10**5, 10**6))  # type: ignore[misc]
        missed += large > 30 * max(small, 1e-3)
        print(f"{name:34}{small * 1e3:12.1f}{large * 1e3:12.1f}{large / small:8.1f}")
    many = "[1] " * 250_000
    print(f"{'250,000 small values':34}{'':12}{seconds(lambda: form(many), 3) * 1e3:12.1f}")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
