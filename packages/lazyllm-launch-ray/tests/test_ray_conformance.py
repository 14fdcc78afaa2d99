"""What every launcher promises: on a simulated head, and (marked `ray`) on a real cluster."""

from __future__ import annotations

from typing import Any

import pytest

from lazyllm.testing import LauncherConformance
from lazyllm_launch_ray.launcher import RayLauncher


class TestRaySimulated(LauncherConformance):
    soon = 10.0

    @pytest.fixture(autouse=True)
    def _head(self, own_home: None, double: Any) -> None:
        double.runs = True
        self.url = double.url

    def make(self, **kw: Any) -> RayLauncher:
        return RayLauncher(self.url, **kw)


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
class TestRay(LauncherConformance):
    soon = 60.0
    many = 4

    @pytest.fixture(autouse=True)
    def _head(self, cluster: Any) -> None:
        self.url = cluster.url

    def make(self, **kw: Any) -> RayLauncher:
        return RayLauncher(self.url, **kw)
