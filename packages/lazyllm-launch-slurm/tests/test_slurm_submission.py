"""What sbatch is given for wishes that have to fit the cluster."""

import logging

import pytest

from lazyllm.errors import InputError
from lazyllm_launch_slurm.launcher import SlurmLauncher
from lazyllm_launch_slurm.parse import Node

PLAIN = [
    Node("cpu", "n1", "n1", {}, 0, "idle", 4, 3600.0, "up"),
    Node("gpu", "n2", "n2", {"": 8}, 0, "idle", 4, 60.0, "up"),
]


def shown(monkeypatch, partition, assumed=(), every=PLAIN, **wishes):
    """Return the submission of a job to nodes without GPUs (cpu) or with some (gpu)."""
    monkeypatch.setattr("lazyllm_launch_slurm.launcher.read_nodes", lambda *_, **__: every)
    launcher = SlurmLauncher(partition, **wishes)
    launcher.assumed = frozenset(assumed)
    return launcher.makejob(["true"]).submission()


def test_gpus_that_nobody_asked_for(monkeypatch, caplog):
    logging.getLogger("lazyllm").addHandler(caplog.handler)
    assert "gres" not in shown(monkeypatch, "cpu", ["ngpus"], ngpus=1)
    assert caplog.messages == ["No node of the Slurm partition 'cpu' has GPUs, so ngpus is ignored."]
    caplog.clear()
    for partition in ("gpu", "cpu,gpu"):
        assert "--gres=gpu:1" in shown(monkeypatch, partition, ["ngpus"], ngpus=1)
    assert "--gres=gpu:1" in shown(monkeypatch, "cpu", ["ngpus"], every=[], ngpus=1)  # it cannot be told
    assert "--gres=gpu:1" in shown(monkeypatch, "cpu", ngpus=1) and caplog.messages == []
    launcher = SlurmLauncher("cpu", ngpus=1)
    with pytest.raises(InputError, match="its nodes have none"):
        launcher.environment()
    launcher.assumed = frozenset(["ngpus"])
    assert launcher.environment() == {} and len(caplog.messages) == 1
    logging.getLogger("lazyllm").removeHandler(caplog.handler)


def test_slurms_own_limit_leaves_time_for_the_end(monkeypatch):
    assert " -t 3 " in shown(monkeypatch, "cpu", timeout=60) and " -t 1 " in shown(monkeypatch, "gpu", timeout=60)
    assert " -t 60 " in shown(monkeypatch, "cpu", timeout=3600) and "-t" not in shown(monkeypatch, "cpu")
    assert "--signal" not in shown(monkeypatch, "cpu", timeout=60)
    told = {"options": {"signal": "B:USR1@20"}}
    assert "--signal=B:USR1@140" in shown(monkeypatch, "cpu", timeout=60, **told)
    assert "--signal=B:USR1@20" in shown(monkeypatch, "cpu", **told)
    monkeypatch.setenv("SBATCH_SIGNAL", "USR2@30")
    assert "--signal=USR2@150" in shown(monkeypatch, "cpu", timeout=60)
    assert "--signal=B:USR1@140" in shown(monkeypatch, "cpu", timeout=60, **told)
