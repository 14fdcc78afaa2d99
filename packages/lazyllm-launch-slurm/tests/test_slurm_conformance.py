"""launchers.slurm keeps the promises of every launcher, on a real cluster."""

import pytest

from lazyllm.testing import LauncherConformance
from lazyllm_launch_slurm.launcher import SlurmLauncher


@pytest.mark.slurm
@pytest.mark.xdist_group("slurm")
@pytest.mark.usefixtures("cluster")
class TestSlurm(LauncherConformance):
    def make(self, **kw):
        return SlurmLauncher("debug", **kw)
