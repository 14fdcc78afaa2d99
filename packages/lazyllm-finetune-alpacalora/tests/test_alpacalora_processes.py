"""How many processes train together, and who starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lazyllm.errors import InputError
from lazyllm_finetune_alpacalora import node, processes
from lazyllm_finetune_alpacalora.config import RunConfig
from lazyllm_finetune_alpacalora.params import DS_CONFIG
from lazyllm_finetune_alpacalora.processes import Processes
from lazyllm_finetune_alpacalora.step import settle_ranks, settle_threads

OTHER_JSON = str(Path(DS_CONFIG).parent / "templates" / "alpaca.json")  # its content does not matter here
TRAIN = ["-m", "lazyllm_finetune_alpacalora.train", "<run.json>"]


@pytest.fixture(autouse=True)
def _no_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "restored at the end, whatever a test sets")
        monkeypatch.delenv(name)


@pytest.fixture
def built(empty_model: Path, alpaca_file: Path, trainer_maker: Callable[..., Any]) -> Callable[..., Any]:
    """(launcher's attributes) -> the training step's arguments, the ports, and the configuration."""

    def build(keywords: dict[str, Any] | None = None, **launcher: Any) -> tuple[list[str], dict[str, Any], Any]:
        trainer = trainer_maker(empty_model, **(keywords or {}))
        trainer._launcher = SimpleNamespace(**launcher)
        command = trainer.cmd(alpaca_file)
        argv = [str(item) for item in command.steps[0].argv[1:]]
        assert command.steps[1].once
        return argv, dict(command.ports), json.loads(command.files["run.json"])

    return build


@pytest.mark.parametrize("launcher", [{"ngpus": 1}, {"ngpus": None}, {"ngpus": 0.5}, {}, {"nnode": 1, "nproc": 1}])
def test_one_process_needs_no_torchrun(built: Any, launcher: dict[str, Any]) -> None:
    argv, ports, config = built(**launcher)
    assert (argv, ports, config["processes"]) == (TRAIN, {}, 1)


@pytest.mark.parametrize(
    ("launcher", "world"),
    [
        ({"nproc": 4, "ngpus": 4}, 4),
        ({"nproc": 4, "ngpus": None}, 4),
        ({"nnode": 2, "nproc": 2, "ngpus": 8}, 4),
        ({"nnode": 2, "nproc": 1, "ngpus": 1}, 2),
        ({"nnode": 3, "nproc": 1, "ngpus": 0}, 3),
        ({"nproc": 2, "ngpus": 2, "torchrun": True}, 2),
        ({"nnode": 2, "nproc": 1, "ngpus": 4, "torchrun": True}, 2),
    ],
    ids=str,
)
def test_a_launcher_of_several_processes_is_left_to_start_them(
    built: Any, launcher: dict[str, Any], world: int
) -> None:
    argv, ports, config = built({"micro_batch_size": 1}, **launcher)
    assert (argv, ports, config["processes"]) == (TRAIN, {}, world)


def test_a_node_of_several_gpus_starts_a_process_for_each(built: Any) -> None:
    argv, ports, config = built({"micro_batch_size": 1}, nnode=2, nproc=1, ngpus=4)
    assert argv == ["-m", "lazyllm_finetune_alpacalora.node", "4", "<run.json>"]
    assert (ports, config["processes"]) == ({}, 8)
    environ = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29400"}
    assert node.torchrun(environ, "4", "c.json")[1:] == [
        *("-m", "torch.distributed.run", "--nnodes=2", "--node_rank=1", "--master_addr=10.0.0.1"),
        *("--master_port=29400", "--nproc_per_node=4", "-m", "lazyllm_finetune_alpacalora.train", "c.json"),
    ]
    with pytest.raises(SystemExit, match="gives its processes no MASTER_PORT"):
        node.torchrun({**environ, "MASTER_PORT": ""}, "4", "c.json")


def test_a_launcher_whose_torchrun_is_off_leaves_nproc_alone(built: Any) -> None:
    argv, ports, config = built({"micro_batch_size": 1}, nproc=4, ngpus=2, torchrun=False)
    assert argv[1:4] == ["torch.distributed.run", "--nnodes=1", "--nproc_per_node=2"]
    assert (ports, config["processes"]) == ({"nccl": None}, 2)


def test_deepspeed_alone_runs_under_torchrun_too(built: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lazyllm_finetune_alpacalora.check.find_spec", lambda name: object())
    argv, ports, config = built({"deepspeed": OTHER_JSON}, ngpus=1)
    assert argv[1:4] == ["torch.distributed.run", "--nnodes=1", "--nproc_per_node=1"]
    assert (ports, config["processes"], config["distributed"]) == ({"nccl": None}, 1, True)
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    settle_ranks(1)
    assert os.environ["RANK"] == "0"


def test_processes_do_not_share_a_gpu(built: Any) -> None:
    with pytest.raises(InputError, match=r"nproc=4 .* ngpus=1.\n.*ngpus=4, or for ngpus=0"):
        built(nproc=4, ngpus=1)


@pytest.mark.parametrize(("gpus", "world"), [(False, 1), (True, 4)])
def test_ngpus_is_ignored_on_this_machine_if_it_has_none(
    built: Any, gpus: bool, world: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "gpus_here", lambda: gpus)
    argv, _, config = built({"micro_batch_size": 1}, ngpus=4, owned=True)
    assert config["processes"] == world
    assert ("--nproc_per_node=4" in argv) == gpus
    assert built({"micro_batch_size": 1}, ngpus=4)[2]["processes"] == 4  # on another machine


def test_the_real_launchers_are_read_so(monkeypatch: pytest.MonkeyPatch) -> None:
    launchers = pytest.importorskip("lazyllm_launch_local.launcher")
    monkeypatch.setattr(processes, "gpus_here", lambda: False)
    assert Processes.of(launchers.EmptyLauncher(ngpus=4)) == Processes(1, 1)


def test_a_batch_is_checked_for_all_processes(built: Any) -> None:
    with pytest.raises(InputError, match="take 40"):
        built(nnode=2, nproc=2, ngpus=2)


def test_a_single_process_forgets_what_it_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "3"}.items():
        monkeypatch.setenv(name, value)
    settle_ranks(0)
    assert not {"RANK", "WORLD_SIZE", "LOCAL_RANK"} & set(os.environ)


@pytest.mark.parametrize(("seen", "used"), [("2,3", "2"), (None, "0"), ("", ""), ("MIG-a", "MIG-a")])
def test_a_single_process_sees_one_gpu(seen: str | None, used: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if seen is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)
    settle_ranks(0)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == used


def test_processes_that_the_launcher_did_not_join_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="2 processes were to train together, but the launcher made it one"):
        settle_ranks(2)
    monkeypatch.setenv("WORLD_SIZE", "2")
    settle_ranks(2)
    assert os.environ["LOCAL_RANK"] == "0"


def test_a_node_says_what_it_lacks() -> None:
    environ = {name: value for name, value in os.environ.items() if name not in node.VARIABLES}
    argv = [sys.executable, "-m", "lazyllm_finetune_alpacalora.node", "2", "c.json"]
    done = subprocess.run(argv, capture_output=True, text=True, env=environ, check=False)
    assert done.returncode == 1
    assert "no RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT" in done.stderr


@pytest.mark.parametrize(
    ("set_here", "ours", "threads", "still_ours"),
    [
        ({}, True, "1", True),
        ({}, False, "1", False),
        ({"OMP_NUM_THREADS": "16"}, True, "16", False),  # a scheduler's, on the node
        ({"OMP_NUM_THREADS": "1", "TORCHELASTIC_RUN_ID": "x"}, True, "1", True),
    ],
)
def test_threads_are_chosen_where_the_job_runs(
    set_here: dict[str, str], ours: bool, threads: str, still_ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    for name, value in set_here.items():
        monkeypatch.setenv(name, value)
    run = RunConfig("base", "root", "lora", "merge", "data", "log", {}, auto_threads=ours)
    assert settle_threads(run).auto_threads is still_ours
    assert os.environ["OMP_NUM_THREADS"] == threads
