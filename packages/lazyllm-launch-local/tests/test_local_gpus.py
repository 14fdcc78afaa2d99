"""The choice of GPUs, with a stand-in for NVIDIA's library."""

import logging
import os
import sys
from types import SimpleNamespace

import pytest

from lazyllm.configs import config
from lazyllm.errors import LauncherError
from lazyllm.launcher import RemoteLauncher, resolve_launcher
from lazyllm_launch_local.grant import grant
from lazyllm_launch_local.launcher import EmptyLauncher


class NVMLError(Exception):
    pass


@pytest.fixture
def machine(monkeypatch):
    """Return a function that gives this machine GPUs with so many bytes free."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    mine = os.urandom(4).hex()  # leases hold for the whole machine, for tests that run beside this one too

    def install(*free: int, driver: bool = True) -> None:
        def init():
            if not driver:
                raise NVMLError("Driver Not Loaded")

        fake = SimpleNamespace(
            NVMLError=NVMLError,
            nvmlInit=init,
            nvmlShutdown=lambda: None,
            nvmlDeviceGetCount=lambda: len(free),
            nvmlDeviceGetHandleByIndex=lambda index: index,
            nvmlDeviceGetUUID=lambda index: f"GPU-{index}abc-{mine}",
            nvmlDeviceGetMemoryInfo=lambda index: SimpleNamespace(free=free[index]),
        )
        monkeypatch.setitem(sys.modules, "pynvml", fake)

    return install


def visible_devices(ngpus, **kw):
    granted = grant(ngpus, **kw)
    granted.close()
    return granted.variables


def chosen(ngpus):
    return visible_devices(ngpus).get("CUDA_VISIBLE_DEVICES")


def test_most_free_memory_first(machine):
    machine(10, 40, 30, 20)
    assert chosen(None) == "1" and chosen(2) == "1,2" and chosen(4) == "1,2,3,0" and chosen(0) is None
    assert visible_devices(1)["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_too_many(machine):
    machine(10, 20)
    with pytest.raises(LauncherError, match=r"ngpus=3 is more than the 2 GPU\(s\) on this machine"):
        visible_devices(3)


@pytest.mark.parametrize(
    "outer, ngpus, expected",
    [
        ("2,0", 1, "2"),
        ("2,0", 2, "2,0"),
        ("0,2", None, "2"),
        ("GPU-3abc,GPU-0abc", 1, "GPU-3abc"),
        ("GPU-3", 1, "GPU-3"),
        ("0,9,1", 1, "0"),
        ("0,0,2", 2, "2,0"),
        ("MIG-mine", 1, "MIG-mine"),
        ("MIG-GPU-mine/7/0", 1, "MIG-GPU-mine/7/0"),
        ("2,MIG-a b,3", None, "2"),
        ("2,-1,3", None, "2"),
        ("", None, None),
    ],
)
def test_an_outer_setting_is_the_frame(machine, monkeypatch, outer, ngpus, expected):
    machine(10, 40, 30, 20)
    mine = str(os.getpid())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", outer.replace("mine", mine))
    assert chosen(ngpus) == (expected and expected.replace("mine", mine))


def test_more_than_the_outer_setting_shows(machine, monkeypatch):
    machine(10, 40, 30)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(LauncherError, match=r"more than the 2 GPU\(s\) within CUDA_VISIBLE_DEVICES=0,1"):
        visible_devices(3)


@pytest.mark.parametrize("outer", ["", "-1", "9"])
def test_all_gpus_hidden(machine, monkeypatch, outer):
    machine(10, 40)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", outer)
    with pytest.raises(LauncherError, match=f"ngpus=1, but CUDA_VISIBLE_DEVICES='{outer}' hides all 2 GPU") as caught:
        visible_devices(1)
    assert "Unset CUDA_VISIBLE_DEVICES" in str(caught.value) and "ngpus=0" in str(caught.value)
    assert visible_devices(1, asked=False) == {} == visible_devices(0)  # a component's wish, not the user's


@pytest.mark.parametrize("free, driver", [((), True), ((1,), False)])
def test_a_machine_without_gpus(machine, free, driver, caplog):
    machine(*free, driver=driver)
    logging.getLogger("lazyllm").addHandler(caplog.handler)
    assert visible_devices(2) == {} and visible_devices(None) == {}
    assert visible_devices(1, asked=False) == {}
    resolve_launcher(None, ngpus=1).environment()
    RemoteLauncher().environment()
    assert caplog.text.count("ignored") == 1
    RemoteLauncher(ngpus=1).environment()
    logging.getLogger("lazyllm").removeHandler(caplog.handler)
    assert caplog.text.count("ngpus=2 is ignored") == 1 == caplog.text.count("ngpus=1 is ignored")


def test_switched_off(machine):
    machine(10)
    with config.override(cuda_visible=False):
        assert visible_devices(5) == {}


def test_the_job_gets_it(machine):
    machine(10, 20)
    launcher = EmptyLauncher(ngpus=2)
    job = launcher.makejob(["printenv", "CUDA_VISIBLE_DEVICES"])
    launcher.launch(job)
    assert job.output() == "1,0\n"
    with pytest.raises(LauncherError, match="ngpus=5"):
        EmptyLauncher(ngpus=5).launch(["true"])
