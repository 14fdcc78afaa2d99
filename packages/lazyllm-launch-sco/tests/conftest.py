"""A simulated SenseCore for each test, of the generation that the test asks for."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lazyllm.jobs.polling import Poller
from lazyllm_launch_sco.launcher import ScoLauncher
from lazyllm_launch_sco.simulator.world import World


@pytest.fixture(params=["older"])
def generation(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def world(generation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(tmp_path / "sensecore")
    monkeypatch.setenv("PATH", f"{made.setup(generation)}:{os.environ['PATH']}")
    monkeypatch.setenv("LAZYLLM_SCO_WORKSPACE", "space")
    monkeypatch.setenv("LAZYLLM_SLURM_PART", "part")
    yield made
    for asking in Poller.pollers.values():
        asking.followed.clear()  # what a failed test left would ask other tests' tools
    made.end()


@pytest.fixture
def make(world: World) -> Callable[..., ScoLauncher]:
    """Make a launcher for the simulated SenseCore; the newest generation needs an image."""

    def made(**kw: object) -> ScoLauncher:
        if world.knob("generation") == "acp":
            kw.setdefault("container_image", "registry/image:1")
        return ScoLauncher(**kw)  # type: ignore[arg-type]

    return made


@pytest.fixture
def until() -> Callable[..., None]:
    def wait(reached: Callable[[], object], seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < end, f"not within {seconds} s"
            time.sleep(0.03)

    return wait


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing wait for as long as it would for the real SenseCore."""
    monkeypatch.setattr("lazyllm_launch_sco.launcher.PAUSE", 0.2)
    monkeypatch.setattr("lazyllm_launch_sco.judge.LAG", 0.6)
    monkeypatch.setattr("lazyllm_launch_sco.stop.AFTER", 0.1)
    monkeypatch.setattr("lazyllm_launch_sco.poller.ScoPoller.slow", 0.6)


PYTHON = sys.executable
