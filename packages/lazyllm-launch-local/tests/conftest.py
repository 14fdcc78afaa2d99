"""A machine with GPUs, in this process and all that it starts, without NVIDIA's library."""

import importlib
import json
import os
import subprocess
import sys
import time

import pytest

from lazyllm.jobs import manage
from lazyllm_launch_local.launcher import EmptyLauncher
from lazyllm_launch_local.leases import leases

FAKE = """
import os
from types import SimpleNamespace
class NVMLError(Exception): pass
GPUS = [gpu.split(":") for gpu in os.environ["FAKE_GPUS"].split(",")]
nvmlInit = nvmlShutdown = lambda: None
nvmlDeviceGetCount = lambda: len(GPUS)
nvmlDeviceGetHandleByIndex = lambda index: GPUS[index]
nvmlDeviceGetUUID = lambda gpu: gpu[0]
nvmlDeviceGetMemoryInfo = lambda gpu: SimpleNamespace(free=int(gpu[1]))
"""

OTHER = """
import json, sys, time
import pynvml
from lazyllm.errors import LauncherError
from lazyllm_launch_local.launcher import EmptyLauncher
made, more, seconds = json.loads(sys.argv[1])
argv = more.pop("argv", ["sh", "-c", "echo $CUDA_VISIBLE_DEVICES; exec sleep 300"])
job = EmptyLauncher(sync=False, **made).makejob(argv, **more)
try:
    job.start()
except LauncherError as error:
    print(json.dumps({"refused": str(error)}), flush=True)
else:
    while not (seen := job.output()): time.sleep(0.01)
    print(json.dumps({"gpus": seen.strip(), "id": job.id, "runner": job.details()["runner_pid"]}), flush=True)
time.sleep(seconds)
"""


SHOW = ("sh", "-c", "echo $CUDA_VISIBLE_DEVICES; exec sleep 300")


class Machine:
    """GPUs that no other test has, the first with most free memory."""

    def __init__(self, count):
        mine = os.urandom(4).hex()  # leases hold for the whole machine
        self.uuids = [f"GPU-{index}abc-{mine}" for index in range(count)]

    @property
    def leased(self):
        """The numbers of the leased GPUs, one for each lease."""
        return sorted(self.uuids.index(lease.gpu) for lease in leases() if lease.gpu in self.uuids)

    @staticmethod
    def begin(*, argv=SHOW, name=None, detach=False, **kw):
        job = EmptyLauncher(sync=False, **kw).makejob(list(argv), name=name, detach=detach)
        job.quiet = True
        job.start()
        return job

    @classmethod
    def shown(cls, job):
        """The GPUs that a job of SHOW sees."""
        cls.until(job.output)
        return job.output().strip()

    @staticmethod
    def until(condition, seconds=20.0):
        end = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.005)
        return value

    @staticmethod
    def inner(made=None, *, seconds=300, **more):
        """The argv of a process that starts a job (by default SHOW), prints one line of JSON and stays."""
        return [sys.executable, "-c", OTHER, json.dumps([made or {}, more, seconds])]

    @classmethod
    def elsewhere(cls, made=None, **more):
        argv = cls.inner(made, **more)
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    @classmethod
    def told(cls, job, count=1):
        """What `count` processes of `inner` in a job have printed."""

        def answers():
            found = [line for line in job.output().splitlines() if line.startswith('{"')]
            return found if len(found) == count else None

        return [json.loads(answer) for answer in cls.until(answers)]


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Return a function that gives this machine so many GPUs."""
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "pynvml.py").write_text(FAKE)
    monkeypatch.syspath_prepend(str(tmp_path / "fake"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def install(count):
        made = Machine(count)
        monkeypatch.setenv("FAKE_GPUS", ",".join(f"{uuid}:{100 - n}" for n, uuid in enumerate(made.uuids)))
        monkeypatch.setitem(sys.modules, "pynvml", sys)
        del sys.modules["pynvml"]
        monkeypatch.setitem(sys.modules, "pynvml", importlib.import_module("pynvml"))
        return made

    yield install
    for job in manage.ps(running=True):
        manage.stop(job.id, force=True)
