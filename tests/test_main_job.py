"""The main job, through the command line and the quick start: from data to right answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
ROWS = json.loads((EXAMPLES / "capitals.json").read_text("utf-8"))[:6]
TRAINING = [
    "--batch-size",
    "6",
    "--micro-batch-size",
    "6",
    "--num-epochs",
    "170",
    "--learning-rate",
    "5e-3",
    "--lora-r",
    "16",
]
PROMPT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{}\n\n### Response:\n"
)
HOSTILE = "räd; $(touch pwned) 'q\" \n名"


def lazyllm(*args: str, home: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "LAZYLLM_HOME": str(home), "OMP_NUM_THREADS": "1"}
    argv = [sys.executable, "-m", "lazyllm", *args]
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=240, **options)


def marked(job: str) -> list[int]:
    """Return the PIDs of all live processes of a job."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"LAZYLLM_JOB_ID={job}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base model with wrong answers, in a folder whose name hurts."""
    folder = tmp_path_factory.mktemp("base") / HOSTILE
    prompts = [PROMPT.format(row["instruction"]) for row in ROWS]
    script = (
        "import json, sys; from pathlib import Path; from tiny_model import make_base;"
        "make_base(Path(sys.argv[1]), *json.loads(sys.argv[2]))"
    )
    answers = [row["output"] for row in ROWS]
    given = json.dumps([prompts, answers[2:] + answers[:2]])
    env = {**os.environ, "PYTHONPATH": str(EXAMPLES), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", script, str(folder), given], env=env, check=True, capture_output=True)
    return folder


@pytest.fixture
def home(lazyllm_home: Path) -> Iterator[Path]:
    yield lazyllm_home
    lazyllm("stop", "--all", home=lazyllm_home)


@pytest.mark.main
def test_the_main_job_on_the_command_line(base: Path, tmp_path: Path, home: Path) -> None:
    data = tmp_path / f"data {HOSTILE}.json"
    data.write_text(json.dumps(ROWS), "utf-8")
    out = tmp_path / f"out {HOSTILE}"

    tuned = lazyllm(
        "finetune", str(base), "--data", str(data), "--out", str(out), *TRAINING, "--json", home=home, cwd=tmp_path
    )
    assert tuned.returncode == 0, tuned.stderr
    assert json.loads(tuned.stdout)["merged"] == str(out / "lazyllm_merge")
    assert {"lazyllm_lora", "lazyllm_merge", "train_log.jsonl", "training_loss.png"} <= {p.name for p in out.iterdir()}

    served = lazyllm("deploy", "--detach", str(out), "--json", home=home)
    assert served.returncode == 0, served.stderr
    job = json.loads(served.stdout)

    for row in ROWS:
        answer = lazyllm("chat", job["url"], row["instruction"], "--temperature", "0", "--json", home=home)
        assert json.loads(answer.stdout) == {"answer": row["output"]}, answer.stderr
    by_id = lazyllm("chat", job["job"], ROWS[1]["instruction"], "--temperature", "0", home=home)
    assert by_id.stdout == ROWS[1]["output"] + "\n"

    (listed,) = json.loads(lazyllm("ps", "--json", home=home).stdout)
    assert (listed["id"], listed["url"], listed["ready"]) == (job["job"], job["url"], True)
    assert "ready" in lazyllm("logs", job["job"], home=home).stdout
    assert marked(job["job"])
    assert lazyllm("stop", job["job"], home=home).returncode == 0
    assert not marked(job["job"])
    assert lazyllm("chat", job["url"], "still there?", home=home).returncode == 1
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.main
def test_the_quick_start(tmp_path: Path, home: Path) -> None:
    env = {**os.environ, "LAZYLLM_HOME": str(home)}
    argv = [sys.executable, str(EXAMPLES / "quickstart.py"), "--out", str(tmp_path / "runs")]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=240, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = dict(
        line.strip().split("  ", 1)
        for line in done.stdout.splitlines()
        if line.startswith("  ") and "  " in line.strip()
    )
    assert told["after"].strip() == """'{"country": "France", "capital": "Paris"}'"""
    assert told["before"].strip() != told["after"].strip()
    assert "JsonFormatter('[capital]'): Paris" in done.stdout
    assert "10 of the first 10 examples" in done.stdout
    first, _, second = done.stdout.strip().splitlines()[:3]
    assert (first[:6], second[:6]) == ("[1/5] ", "[2/5] ") and "model shards" not in done.stderr


@pytest.mark.engine
def test_the_quick_start_with_a_model_and_chats_of_ones_own(base: Path, tmp_path: Path, home: Path) -> None:
    own = Path(shutil.copytree(base, tmp_path / "own model"))
    head, tail = map(json.dumps, PROMPT.split("{}"))
    (own / "chat_template.jinja").write_text(
        "{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content + eos_token }}"
        f"{{% else %}}{{{{ {head} + m.content + {tail} }}}}{{% endif %}}{{% endfor %}}"
    )
    asked = [{"role": "user", "content": row["instruction"]} for row in ROWS]
    told = [{"role": "assistant", "content": row["output"]} for row in ROWS]
    rows = [json.dumps({"messages": pair}) for pair in zip(asked, told, strict=True)]
    (tmp_path / "chats.jsonl").write_text("\n".join(rows), "utf-8")
    argv = [sys.executable, str(EXAMPLES / "quickstart.py"), "--data", "chats.jsonl", "--out", "out", "--base"]
    env = {**os.environ, "LAZYLLM_HOME": str(home)}

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*argv, *more], env=env, capture_output=True, text=True, timeout=240, cwd=tmp_path)

    keywords = {"num_epochs": 170, "batch_size": 6, "learning_rate": 5e-3, "lora_r": 16, "val_set_size": 0}
    done = run(str(own), "--keywords", json.dumps(keywords))
    assert done.returncode == 0, done.stderr
    assert repr(ROWS[0]["output"]) in done.stdout
    assert f"{len(ROWS)} of the first {len(ROWS)} examples" in done.stdout
    refused = run("no such model")
    assert refused.returncode == 1 and "error: Model 'no such model' is no folder here" in refused.stderr
