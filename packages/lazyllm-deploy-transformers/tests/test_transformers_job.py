"""The engine under a real launcher: its address, and what a stop leaves of its answers."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest

pytestmark = pytest.mark.engine

# each step of the model takes 15 ms: an answer of 450 tokens outlasts a launcher's own grace
SLOW = """
import os, sys, time
from lazyllm_deploy_transformers import server
from lazyllm_deploy_transformers.batching import sampler
call = sampler.Sampler.prepare_tensor_args
def slowly(self, *args, **kw):
    time.sleep(0.015)
    return call(self, *args, **kw)
sampler.Sampler.prepare_tensor_args = slowly
os._exit(server.main(sys.argv[1:]))
"""
LONG = {"prompt": "x", "max_tokens": 450, "ignore_eos": True, "stream": True}


@pytest.fixture
def launched(model_dir, tmp_path, monkeypatch):
    """(keywords) -> the job of a server that answers; it is stopped at the test's end."""
    launchers = pytest.importorskip("lazyllm_launch_local.launcher")
    from lazyllm_deploy_transformers.engine import TransformersDeploy

    class Engine(TransformersDeploy):
        slow = False

        def cmd(self, finetuned_model=None, base_model=None):
            command = super().cmd(finetuned_model, base_model)
            python, _, _, *rest = command.steps[0].argv
            step = replace(command.steps[0], argv=(python, "-c", SLOW, *rest))
            return replace(command, steps=(step,)) if self.slow else command

    monkeypatch.setenv("LAZYLLM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LAZYLLM_API_KEY", raising=False)
    jobs = []

    def launch(slow=False, **kw):
        engine = Engine(launcher=launchers.EmptyLauncher(ngpus=0), start_timeout=90.0, **kw)
        engine.slow = slow
        jobs.append(engine.start(str(model_dir), detach=slow))
        jobs[-1].wait_ready()
        return jobs[-1]

    yield launch
    for job in jobs:
        job.stop(force=True)


def test_an_address_of_ones_own_is_bound_probed_and_told(launched):
    job = launched(host="127.0.0.2", model_name="-x")
    assert job.url.startswith("http://127.0.0.2:")
    served = httpx.get(f"{job.url}/models")
    assert job.key_file is None and served.json()["data"][0]["id"] == "-x"
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{job.url}/models".replace("127.0.0.2", "127.0.0.1"))


def test_a_server_that_others_reach_has_a_key(launched):
    job = launched(host="0.0.0.0")
    port = job.url.rpartition(":")[2]
    refused = httpx.get(f"http://127.0.0.1:{port}/models")
    assert refused.status_code == 401 and job.key_file is not None


def lazyllm_stop(job):
    """Return the seconds that `lazyllm stop` took."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "lazyllm", "stop", job.id], capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stderr
    return time.monotonic() - started


def test_a_stop_lets_running_streams_finish(launched):
    job = launched(slow=True, shutdown_timeout=90.0)

    def stream():
        with httpx.stream("POST", f"{job.url}/completions", json=LONG, timeout=150) as answer:
            return [line for line in answer.iter_lines() if line]

    with ThreadPoolExecutor(4) as pool:
        streams = [pool.submit(stream) for _ in range(4)]
        time.sleep(1.5)
        assert not any(s.done() for s in streams)
        took = lazyllm_stop(job)
        answers = [s.result() for s in streams]
    assert {a[-1] for a in answers} == {"data: [DONE]"} and all('"finish_reason":"length"' in a[-2] for a in answers)
    assert 5 < took < 100
    log = job.output()
    assert "SIGTERM: stopping; requests under way: 4" in log
    assert "stopped; requests finished: 4, cut off: 0, left by their clients: 0" in log


def test_a_stop_of_an_idle_server_is_immediate(launched):
    job = launched(slow=True)
    assert lazyllm_stop(job) < 20
    assert "stopped; requests finished: 0" in job.output()
