"""What the conformance tests of launchers share: limits, a home of their own, waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ..jobs import manage
from ..jobs.job import Job
from ..jobs.launcher import LazyLLMLaunchersBase


class LauncherTests:
    """Base of the tests; the attributes are a subclass's to set."""

    soon: ClassVar[float] = 30.0
    """Seconds within which a job of no length ends, its time in the queue included."""
    late: ClassVar[float] = 0.5
    """Seconds that news may take: from a line of output, or a job's end, to whoever waits for it."""
    many: ClassVar[int] = 20
    """Jobs that are started at once."""

    def make(self, **kw: Any) -> LazyLLMLaunchersBase:
        """Return a new launcher; `kw` are arguments of its constructor, of which all take `sync`."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def own_home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Give each test a LAZYLLM_HOME and a working folder of its own, and end what it left running."""
        monkeypatch.setenv("LAZYLLM_HOME", str(tmp_path / "home"))
        monkeypatch.delenv("LAZYLLM_API_KEY", raising=False)
        (tmp_path / "work").mkdir()
        monkeypatch.chdir(tmp_path / "work")
        yield
        for left in manage.ps(running=True):
            manage.stop(left.id, force=True)

    def started(self, cmd: Any, **kw: Any) -> Job:
        """Start a job that this test waits for by itself."""
        job: Job = self.make(sync=False).makejob(cmd, **kw)
        job.start()
        return job

    def until(self, reached: Callable[[], Any], seconds: float | None = None) -> Any:
        """Wait until `reached` returns something true, and return that."""
        end = time.monotonic() + (seconds or self.soon)
        while not (found := reached()):
            assert time.monotonic() < end, f"not within {seconds or self.soon} s"
            time.sleep(0.02)
        return found
