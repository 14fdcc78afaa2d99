"""A Slurm cluster for the tests marked `slurm`: brought up once a session, ended with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SCRIPT = str(Path(__file__).with_name("slurm_cluster.py"))
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch")


class Controller:
    """The cluster's controller, to be taken away for a while."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, action: str) -> str:
        done = subprocess.run([sys.executable, SCRIPT, action, self.folder], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Controller]:
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    if missing := [name for name in PROGRAMS if not shutil.which(name, path=path)]:
        pytest.skip(f"{missing[0]} is not installed; Debian has it in slurmctld slurmd slurm-client munge")
    folder = tempfile.mkdtemp(prefix="slurm-", dir="/tmp")
    control = Controller(folder)
    before = os.environ.get("SLURM_CONF")
    try:
        os.environ["SLURM_CONF"] = control("up")
        yield control
    finally:
        control("down")
        os.environ.pop("SLURM_CONF")
        if before is not None:
            os.environ["SLURM_CONF"] = before


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAZYLLM_HOME", str(tmp_path / "home"))
    for name in ("LAZYLLM_SLURM_PART", "LAZYLLM_PARTITION", "LAZYLLM_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture
def until() -> Callable[..., None]:
    def wait(reached: Callable[[], object], seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < end, f"not within {seconds} s"
            time.sleep(0.05)

    return wait
