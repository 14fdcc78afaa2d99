"""What every launcher promises, as tests: a launcher's own test file is a subclass and a few attributes."""

from __future__ import annotations

from .running import RunningTests
from .serving import ServingTests
from .stopping import StoppingTests


class LauncherConformance(RunningTests, StoppingTests, ServingTests):
    """The tests that each launcher passes, against the real scheduler or a faithful double on this machine.

    ::

        class TestQueue(LauncherConformance):
            late = 1.0

            def make(self, **kw):
                return QueueLauncher("debug", **kw)

    Jobs must run on this machine (a test cluster on the loopback does), because the tests look for their processes.
    """
