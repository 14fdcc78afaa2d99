"""One process of several, as srun starts it."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from lazyllm.jobs import runner
from lazyllm_launch_slurm import rank


def test_variables_of_torchrun():
    slurm = {"SLURM_NTASKS": "8", "SLURM_NNODES": "2", "SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_NODEID": "1"}
    found = rank.variables({**slurm, "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.1"}, "0.0.0.0", "29500")
    assert found == {
        "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500", "WORLD_SIZE": "8", "RANK": "5", "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "4", "GROUP_RANK": "1", "NODE_RANK": "1", "GROUP_WORLD_SIZE": "2", "ROLE_RANK": "5",
        "ROLE_WORLD_SIZE": "8",
    }  # fmt: skip


@pytest.mark.parametrize(
    "argv, code, facts",
    [
        (["true"], 0, None),
        (["sh", "-c", "exit 3"], 3, {"exit_code": 3, "signal": None}),
        (["sh", "-c", "kill -SEGV $$"], 139, {"exit_code": 139, "signal": 11}),
        (
            ["no-such-program"],
            127,
            {"exit_code": 127, "why": "the program 'no-such-program' cannot be started: No such"},
        ),
        (["/etc/passwd"], 126, {"exit_code": 126}),
        (["sh", "-c", "trap 'exit 7' USR1 TERM; kill -USR1 $PPID $$; sleep 9"], 7, {"exit_code": 7}),
        (["sh", "-c", "kill -TERM $PPID $$; sleep 9"], 143, None),
        (["sh", "-c", "(sleep 0.1; kill -TERM $PPID) & kill -TERM $$"], 143, None),
        (["sh", "-c", "kill -TERM $$; kill -TERM $PPID"], 143, {"exit_code": 143, "signal": 15}),
    ],
)
def test_what_becomes_of_a_rank(tmp_path, argv, code, facts):
    slurm = {"SLURM_NTASKS": "2", "SLURM_NNODES": "1", "SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_NODEID": "0"}
    environ = {**os.environ, **slurm, "LAZYLLM_JOB_DIR": str(tmp_path), "SLURMD_NODENAME": "n1"}
    done = subprocess.run([sys.executable, "-I", "-S", rank.__file__, "127.0.0.1", "1", *argv], env=environ)
    assert done.returncode == code
    left = list(tmp_path.iterdir())
    assert [path.name for path in left] == ["failed-1.json"] * bool(facts)
    if facts:
        told = json.loads(left[0].read_text())
        assert (told["rank"], told["node"]) == (1, "n1")
        assert str(told.pop("why", "")).startswith(facts.pop("why", "")) and facts.items() <= told.items()


def test_a_late_signal_does_not_change_how_a_rank_ends():
    slurm = {"SLURM_NTASKS": "1", "SLURM_NNODES": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
    program = ("sh", "-c", "trap '' USR1; echo up; sleep 0.1")
    command = [sys.executable, "-I", "-S", rank.__file__, "127.0.0.1", "1", *program]
    for _ in range(5):
        process = subprocess.Popen(command, env={**os.environ, **slurm}, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "up\n"
        while process.poll() is None:
            process.send_signal(signal.SIGUSR1)
        assert process.returncode == 0


def test_a_program_dies_with_its_rank(tmp_path):
    slurm = {"SLURM_NTASKS": "1", "SLURM_NNODES": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
    command = [sys.executable, "-I", "-S", rank.__file__, "127.0.0.1", "1", "sh", "-c", "echo $$; exec sleep 300"]
    process = subprocess.Popen(command, env={**os.environ, **slurm}, stdout=subprocess.PIPE, text=True)
    pid = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 5
    while runner.token(pid):
        assert time.monotonic() < end
        time.sleep(0.01)
