"""Schedulers for the tests: the Slurm cluster of the neighbouring package, and simulated PBS and LSF."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SLURM = Path(__file__).parents[2] / "lazyllm-launch-slurm" / "tests" / "slurm_cluster.py"
SIMULATOR = Path(__file__).with_name("sim_scheduler.py")
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch")


@pytest.fixture(scope="session")
def slurm() -> Iterator[Callable[[str], str]]:
    """Bring up a Slurm cluster on loopback; what is returned has its controller `stop` and `start`."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    if missing := [name for name in PROGRAMS if not shutil.which(name, path=path)]:
        pytest.skip(f"{missing[0]} is not installed; Debian has it in slurmctld slurmd slurm-client munge")
    folder = tempfile.mkdtemp(prefix="slurm-", dir="/tmp")

    def control(action: str) -> str:
        done = subprocess.run([sys.executable, SLURM, action, folder], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    before = os.environ.get("SLURM_CONF")
    try:
        os.environ["SLURM_CONF"] = control("up")
        yield control
    finally:
        control("down")
        os.environ.pop("SLURM_CONF", None)
        if before is not None:
            os.environ["SLURM_CONF"] = before


@pytest.fixture
def simulated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put simulated PBS and LSF commands first on PATH; return the folder of their state."""
    root, programs = tmp_path_factory.mktemp("sim"), tmp_path_factory.mktemp("bin")
    for name in ("qsub", "qstat", "qdel", "bsub", "bjobs", "bkill", "lsid"):
        program = programs / name
        program.write_text(f"#!{sys.executable} -IS\n" + SIMULATOR.read_text().partition("\n")[2])
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("SIM_SCHEDULER", str(root))
    return root
