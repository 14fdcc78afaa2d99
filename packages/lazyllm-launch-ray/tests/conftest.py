"""A simulated head for the quick tests, and a Ray cluster of their own for those marked `ray`."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lazyllm.jobs.record import records
from lazyllm.jobs.status import Status


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def no_ray_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [n for n in os.environ if n.startswith("RAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # no token of the user's own


@pytest.fixture
def double(lazyllm_home: Path) -> Iterator[Any]:
    made = _load("ray_double").Double()
    yield made
    for record in records():
        record.finish(Status.Cancelled, "the test is over")  # nobody watches it any longer
    made.close()


@pytest.fixture
def cluster(one_cluster: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The session's cluster, with its token at hand."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", one_cluster.token)
    return one_cluster


@pytest.fixture(scope="session")
def one_cluster() -> Iterator[Any]:
    module = _load("ray_cluster")
    program = module.find_ray()
    if not program:
        pytest.skip("Ray is not installed: pip install 'ray[default]', or let RAY_PROGRAM name its ray command")
    made = module.Cluster(program, token="s3cret" * 8)
    try:
        made.up()
        yield made
    finally:
        made.down()


@pytest.fixture
def until() -> Callable[..., None]:
    def wait(reached: Callable[[], object], seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < end, f"not within {seconds} s"
            time.sleep(0.02)

    return wait
