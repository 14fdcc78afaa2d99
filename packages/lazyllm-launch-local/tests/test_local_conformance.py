"""launchers.empty keeps the promises of every launcher."""

from lazyllm.testing import LauncherConformance
from lazyllm_launch_local.launcher import EmptyLauncher


class TestLocal(LauncherConformance):
    def make(self, **kw):
        return EmptyLauncher(**kw)
