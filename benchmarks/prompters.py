"""How long a prompt takes to make, here and in the historic package.

    python benchmarks/prompters.py --peer-python PEER/bin/python

PEER is an environment of its own with the historic package, for instance:

    python -m venv PEER && PEER/bin/pip install -r benchmarks/peer.txt

Each side is measured in its own interpreter, in turns; the least time of all rounds counts (microseconds a call).
Without --peer-python only this side is measured. The exit code is 1 if a ratio is below its target.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

MARKS = {
    "sos": "<|im_start|>system\n", "soh": "<|im_start|>user\n", "soa": "<|im_start|>assistant\n",
    "eos": "<|im_end|>\n", "eoh": "<|im_end|>\n", "eoa": "<|im_end|>\n",
}  # fmt: skip
TOOL_MARKS = {"tool_start_token": "<|call|>", "tool_end_token": "<|end|>", "tool_args_token": "<|args|>"}
HISTORY = [[f"question {i} about the weather", f"answer {i}: it will be sunny"] for i in range(20)]
PROPERTIES = {"city": {"type": "string"}}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": f"get_weather_{i}",
            "description": "Weather of a city",
            "parameters": {"type": "object", "properties": PROPERTIES, "required": ["city"]},
        },
    }
    for i in range(5)
]
TARGETS = {
    "chat plain": 3.0,
    "chat slots": 3.0,
    "chat dict": 3.0,
    "chat 20 turns": 2.0,
    "chat 20 turns dict": 2.0,
    "chat 5 tools": 10.0,
    "chat 5 tools at the call": 10.0,
    "alpaca plain": 3.0,
    "alpaca slots": 3.0,
    "alpaca dict": 3.0,
}


def cases(is_peer: bool) -> dict[str, Callable[[], Any]]:
    if is_peer:
        from lazyllm import AlpacaPrompter, ChatPrompter
    else:
        from lazyllm_prompter_alpaca.prompter import AlpacaPrompter
        from lazyllm_prompter_chat.prompter import ChatPrompter

    def made(prompter: Any, marks: dict[str, str] = MARKS) -> Any:
        prompter._set_model_configs(**marks)
        return prompter

    every = {**MARKS, **TOOL_MARKS}
    chat = made(ChatPrompter("You are a helpful agent."))
    slots = made(ChatPrompter("You know {topic} and speak {language}."))
    owns_tools = made(ChatPrompter("You are a helpful agent.", tools=TOOLS), every)
    gets_tools = made(ChatPrompter("You are a helpful agent."), every)
    alpaca, two = AlpacaPrompter("Translate {text}"), AlpacaPrompter("Translate {text} to {language}")
    three = {"topic": "weather", "language": "English", "query": "Will it rain?"}
    pair = {"text": "Will it rain?", "language": "French"}
    ask = "Will it rain in Paris tomorrow?"
    return {
        "chat plain": lambda: chat.generate_prompt(ask),
        "chat slots": lambda: slots.generate_prompt(three),
        "chat dict": lambda: chat.generate_prompt(ask, return_dict=True),
        "chat 20 turns": lambda: chat.generate_prompt(ask, history=HISTORY),
        "chat 20 turns dict": lambda: chat.generate_prompt(ask, history=HISTORY, return_dict=True),
        "chat 5 tools": lambda: owns_tools.generate_prompt(ask),
        "chat 5 tools at the call": lambda: gets_tools.generate_prompt(ask, tools=TOOLS),
        "alpaca plain": lambda: alpaca.generate_prompt(ask),
        "alpaca slots": lambda: two.generate_prompt(pair),
        "alpaca dict": lambda: alpaca.generate_prompt(ask, return_dict=True),
    }


def measure(is_peer: bool) -> dict[str, float]:
    times = {}
    for name, call in cases(is_peer).items():
        call()
        best = float("inf")
        for _ in range(25):
            start = time.perf_counter()
            for _ in range(100):
                call()
            best = min(best, time.perf_counter() - start)
        times[name] = best / 100 * 1e6
    return times


def run(python: str, side: str) -> dict[str, float]:
    """Measure one side in its own process. Whatever it logs is kept out of the result."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([python, __file__, "--side", side], env=env, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not lines:
        sys.exit(f"{python} failed to measure ({done.returncode}):\n{done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(lines[-1].removeprefix("RESULT "))
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", help="interpreter of an environment with the historic package")
    parser.add_argument("--rounds", type=int, default=5, help="processes a side (default 5)")
    parser.add_argument("--side", choices=["ours", "peer"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        print("RESULT " + json.dumps(measure(args.side == "peer")))
        return 0
    sides = {"ours": sys.executable} | ({"peer": args.peer_python} if args.peer_python else {})
    best: dict[str, dict[str, float]] = {side: {} for side in sides}
    for _ in range(args.rounds):
        for side, python in sides.items():
            for name, value in run(python, side).items():
                best[side][name] = min(value, best[side].get(name, value))
    missed = 0
    print(f"{'case':28}{'here, µs':>10}{'peer, µs':>10}{'ratio':>8}{'target':>8}")
    for name, target in TARGETS.items():
        here, peer = best["ours"][name], best.get("peer", {}).get(name)
        ratio = peer / here if peer else float("nan")
        missed += ratio < target
        print(f"{name:28}{here:10.2f}{peer or float('nan'):10.2f}{ratio:8.1f}{target:8.1f}")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
