"""The main job on a Slurm cluster; a training in several processes there learns what it learns in one."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
CLUSTER = str(ROOT / "packages/lazyllm-launch-slurm/tests/slurm_cluster.py")
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch")
ROWS = (json.loads((ROOT / "examples/capitals.json").read_text("utf-8")) * 2)[:16]  # whole batches
STEPS = 6
# the order of samples and the mean over a batch are the same for any number of processes; dropout is not
TRAINING: dict[str, Any] = {
    "batch_size": 8, "micro_batch_size": 2, "max_steps": STEPS, "learning_rate": 5e-3, "lora_dropout": 0.0,
}  # fmt: skip

pytestmark = [pytest.mark.slurm, pytest.mark.engine, pytest.mark.xdist_group("slurm")]


def cluster_script(action: str, folder: str) -> str:
    done = subprocess.run([sys.executable, CLUSTER, action, folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    if missing := [name for name in PROGRAMS if not shutil.which(name, path=path)]:
        pytest.skip(f"{missing[0]} is not installed; Debian has it in slurmctld slurmd slurm-client munge")
    folder = tempfile.mkdtemp(prefix="slurm-", dir="/tmp")
    with pytest.MonkeyPatch.context() as patch:
        try:
            patch.setenv("SLURM_CONF", cluster_script("up", folder))
            yield
        finally:
            cluster_script("down", folder)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that knows nothing yet."""
    import torch

    spec = importlib.util.spec_from_file_location("tiny_model", ROOT / "examples/tiny_model.py")
    assert spec and spec.loader
    tiny = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tiny)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("base") / "tiny"
    tokenizer = tiny.make_tokenizer([f"{row['instruction']} {row['output']}" for row in ROWS] * 2)
    tiny.make_model(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def train(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """(launcher, keywords) -> the folder that a whole training, merge and all, has filled."""
    import lazyllm

    def run(launcher: Any, **keywords: Any) -> Path:
        folder = tmp_path_factory.mktemp("run")
        data = folder / "train.json"
        data.write_text(json.dumps(ROWS))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LAZYLLM_HOME", str(folder / "home"))
            patch.setenv("OMP_NUM_THREADS", "1")
            trainer = lazyllm.finetune.alpacalora(
                str(base), str(folder / "out"), launcher=launcher, **TRAINING, **keywords
            )
            assert trainer(str(data)) == str(folder / "out" / "lazyllm_merge")
        return folder / "out"

    return run


@pytest.fixture(scope="module")
def alone(train: Callable[..., Path]) -> Path:
    import lazyllm

    return train(lazyllm.launchers.empty(ngpus=0))


def losses(out: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (out / "train_log.jsonl").read_text("utf-8").splitlines()]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1)), "one log, each step once"
    return {line["step"]: line["loss"] for line in lines}


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("shape", "processes"),
    [({"nproc": 2}, 2), ({"nnode": 2}, 2), ({"nnode": 2, "ngpus": 2}, 4)],
    ids=["two processes", "two nodes", "two processes on each of two nodes"],
)
def test_several_processes_learn_as_one(
    cluster: None, train: Callable[..., Path], alone: Path, shape: dict[str, int], processes: int
) -> None:
    from safetensors.torch import load_file

    import lazyllm

    out = train(lazyllm.launchers.slurm(partition="debug", **shape))
    summary, single = (json.loads((folder / "summary.json").read_text()) for folder in (out, alone))
    assert (summary["processes"], single["processes"]) == (processes, 1)
    assert summary["steps"] == single["steps"] == STEPS
    assert losses(out) == pytest.approx(losses(alone), rel=1e-4)
    name = "lazyllm_lora/adapter_model.safetensors"
    together, one = load_file(out / name), load_file(alone / name)
    assert together.keys() == one.keys()
    assert max(float((together[key] - one[key]).abs().max()) for key in one) < 1e-4
    assert len(list(out.glob("*.log"))) == 1
    output = next(out.glob("*.log")).read_text("utf-8")
    assert output.count(f"[progress] train {STEPS}/{STEPS} ") == output.count("[progress] merge 6/6 now=done") == 1
    assert f"{processes} process(es)" in output
    assert not [path.name for path in out.iterdir() if "partial" in path.name or "former" in path.name]


@pytest.mark.timeout(600)
def test_the_quick_start_runs_unchanged(cluster: None, tmp_path: Path) -> None:
    env = {**os.environ, "LAZYLLM_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    env |= {"LAZYLLM_DEFAULT_LAUNCHER": "slurm", "LAZYLLM_SLURM_PART": "debug"}
    argv = [sys.executable, str(ROOT / "examples/quickstart.py"), "--out", str(tmp_path / "runs")]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=500, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "10 of the first 10 examples" in done.stdout and "JsonFormatter('[capital]'): Paris" in done.stdout
    jobs = [json.loads(path.read_text()) for path in (tmp_path / "home" / "jobs").glob("*/job.json")]
    assert {job["launcher"] for job in jobs} == {"slurm"}
    assert {tuple(job["secrets"]) for job in jobs if job["service"]} == {("LAZYLLM_API_KEY",)}
