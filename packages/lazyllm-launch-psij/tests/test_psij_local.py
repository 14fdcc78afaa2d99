"""launchers.psij keeps the promises of every launcher, with psij-python's local executor."""

from lazyllm.testing import LauncherConformance
from lazyllm_launch_psij.launcher import PsijLauncher


class TestPsijLocal(LauncherConformance):
    def make(self, **kw):
        return PsijLauncher("local", **kw)


def test_a_rank_of_its_submitter_is_none_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("LAZYLLM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RANK", "1")
    found = PsijLauncher("local").launch("os:getpid")
    assert isinstance(found, int) and found > 1
