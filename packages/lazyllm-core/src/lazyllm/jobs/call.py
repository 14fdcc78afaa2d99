"""Calls a function where a job runs: `python call.py MODULE:FUNCTION ARGUMENTS`, the latter a JSON file.

What it returns goes to result.json in the job's folder; of several processes the first one's counts. Modules are
looked for in the working folder first, as `python -m` does.
"""

# ruff: noqa: PTH105, PTH109, PTH118, PTH123

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any


def main(name: str, file: str) -> None:
    sys.path[0] = os.getcwd()  # instead of this file's folder
    with open(file, encoding="utf-8") as source:
        given = json.load(source)
    module, _, path = name.partition(":")
    function: Any = importlib.import_module(module)
    for part in path.split("."):
        function = getattr(function, part)
    text = json.dumps(function(*given["args"], **given["kw"]))
    if not os.environ.get("LAZYLLM_JOB_RANKS") or os.environ.get("RANK", "0") == "0":
        target = os.path.join(os.environ["LAZYLLM_JOB_DIR"], "result.json")
        with open(target + ".new", "w", encoding="utf-8") as sink:
            sink.write(text)
        os.replace(target + ".new", target)


if __name__ == "__main__":
    main(*sys.argv[1:])
