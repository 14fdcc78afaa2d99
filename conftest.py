"""What all tests share: a home of their own, and the switch for the heavy ones."""

from __future__ import annotations

from pathlib import Path

import pytest

HEAVY = ("engine", "faults", "simulated", "slurm", "gpu")
ALONE = ("ray",)
"""Marks of tests that have an environment of their own, and run by `-m` only."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--heavy", action="store_true", help=f"also run the tests marked {', '.join(HEAVY)}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("-m"):
        return
    marks = ALONE if config.getoption("--heavy") else (*HEAVY, *ALONE)
    left_out = [item for item in items if any(item.get_closest_marker(mark) for mark in marks)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


@pytest.fixture(autouse=True)
def lazyllm_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a LAZYLLM_HOME of its own and none of the caller's settings."""
    import os

    for name in [n for n in os.environ if n.startswith("LAZYLLM_")]:
        monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("lazyllm-home")
    monkeypatch.setenv("LAZYLLM_HOME", str(home))
    return home
