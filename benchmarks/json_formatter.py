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


def seconds(*calls: Callable[[], Any], repeats: int) -> list[float]:
    """Return the shortest time of each call; they take turns, so that a machine's moods meet all of them."""
    best = [float("inf")] * len(calls)
    for _ in range(repeats):
        for number, call in enumerate(calls):
            start = time.perf_counter()
            call()
            best[number] = min(best[number], time.perf_counter() - start)
    return best


def fails(answer: str) -> None:
    try:
        JsonFormatter()(answer)
    except FormatError:
        return
    raise SystemExit(f"something was found in {answer[:40]!r}…")


def main() -> int:
    form = JsonFormatter()
    print(f"{'a ' + str(round(len(CLEAN) / 1e6, 2)) + ' MB answer':34}{'ms':>8}{'json.loads':>12}{'share':>8}")
    answers = {
        "clean": CLEAN,
        "prose and a fence around": f"Here you {{are}}, see [a]:\n```json\n{CLEAN}\n```\nDone.",
        "a selector [:][title]": CLEAN,
    }
    missed = 0
    for name, answer in answers.items():
        chosen = JsonFormatter("[:][title]") if "selector" in name else form
        took, loads = seconds(lambda f=chosen, a=answer: f(a), lambda: json.loads(CLEAN), repeats=15)  # type: ignore[misc]
        missed += loads / took < 0.6
        print(f"{name:34}{took * 1e3:8.1f}{loads * 1e3:12.1f}{loads / took * 100:6.0f} %")
    print(f"\n{'hostile answer of':34}{'100 kB, ms':>12}{'1 MB, ms':>12}{'growth':>8}")
    for name, piece in HOSTILE.items():
        sizes = (10**5 // len(piece), 10**6 // len(piece))
        small, large = seconds(*(lambda n=n, p=piece: fails("[" + p * n) for n in sizes), repeats=3)  # type: ignore[misc]
        missed += large > 30 * max(small, 1e-3)
        print(f"{name:34}{small * 1e3:12.1f}{large * 1e3:12.1f}{large / small:8.1f}")
    many = "[1] " * 250_000
    print(f"{'250,000 small values':34}{'':12}{seconds(lambda: form(many), repeats=3)[0] * 1e3:12.1f}")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
