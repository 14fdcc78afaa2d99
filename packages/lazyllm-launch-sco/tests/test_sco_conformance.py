"""launchers.sco keeps the promises of every launcher, on the simulated SenseCore."""

import pytest

from lazyllm.testing import LauncherConformance
from lazyllm_launch_sco.launcher import ScoLauncher


@pytest.mark.simulated
@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("generation", ["older"], indirect=True)
class TestScoSrun(LauncherConformance):
    soon = 60.0
    late = 1.0

    def make(self, **kw):
        return ScoLauncher(**kw)


@pytest.mark.simulated
@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("generation", ["acp"], indirect=True)
class TestScoAcp(LauncherConformance):
    soon = 60.0
    late = 1.0

    def make(self, **kw):
        return ScoLauncher(container_image="registry/image:1", **kw)
