"""launchers.psij keeps the promises of every launcher, with psij-python's local executor."""

from lazyllm.testing import LauncherConformance
from lazyllm_launch_psij.launcher import PsijLauncher


class TestPsijLocal(LauncherConformance):
    def make(self, **kw):
        return PsijLauncher("local", **kw)
