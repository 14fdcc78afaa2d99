"""What the cluster can never give is refused before submission; held against a simulated head."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import lazyllm
from lazyllm.errors import InputError, LauncherError
from lazyllm.jobs.status import Status
from lazyllm_launch_ray import cluster as sizes
from lazyllm_launch_ray.launcher import RayLauncher


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "PATIENCE", 0.6)


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"ngpus": 9}, "ngpus=9 is more than the 8 that a node of this Ray cluster has."),
        ({"ncpus": 8.5}, "ncpus=8.5 is more than the 8 that a node"),
        ({"memory": "1TB"}, "memory='1TB' is more than the 16GB that a node"),
        ({"memory": "99TiB"}, "memory='99TiB' is more than the 16GB that a node"),
        ({"memory": 10**12 + 1}, "memory='931.3GiB' is more than"),
        ({"resources": {"a100": 3}}, "resources['a100']=3 is more than the 2 that a node"),
        ({"resources": {"a10": 1}}, "no node of this Ray cluster has this resource. Did you mean 'a100'?"),
        ({"resources": {"tpu-v5": 1}}, "has this resource. Known: a100."),
    ],
)  # fmt: skip
def test_too_much_is_refused(double: Any, wishes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as error:
        RayLauncher(double.url, **wishes).launch(["true"])
    assert words in str(error.value) and "`ray status`" in str(error.value)
    assert not double.bodies


def test_a_cluster_without_resources_of_its_own_says_so(double: Any) -> None:
    double.nodes = [{"CPU": 4.0, "memory": 1e9, "node:10.0.0.1": 1.0}]
    with pytest.raises(InputError, match="has this resource. They have CPUs, memory and perhaps GPUs"):
        RayLauncher(double.url, resources={"a100": 1}).launch(["true"])


def test_what_no_single_node_has_together_is_refused(double: Any) -> None:
    double.nodes = [{"CPU": 32.0, "memory": 1e9}, {"CPU": 4.0, "GPU": 8.0, "memory": 1e9}]
    with pytest.raises(InputError, match="No node of this Ray cluster has all of ncpus=16, ngpus=2 together"):
        RayLauncher(double.url, ngpus=2, ncpus=16).launch(["true"])


def test_a_cluster_without_gpus_says_so(double: Any) -> None:
    double.nodes = [{"CPU": 4.0}]
    with pytest.raises(InputError, match="ngpus=1, but no node of this Ray cluster has GPUs"):
        RayLauncher(double.url, ngpus=1).launch(["true"])


def test_a_gpu_that_nobody_asked_for_is_done_without(double: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    double.nodes = [{"CPU": 4.0}]
    monkeypatch.setenv("LAZYLLM_DEFAULT_LAUNCHER", "ray")
    monkeypatch.setenv("LAZYLLM_RAY_ADDRESS", double.url)
    launcher = lazyllm.launchers.remote()
    launcher.launch(["true"])
    assert "entrypoint_num_gpus" not in double.bodies[0]
    double.nodes = [{"CPU": 4.0, "GPU": 1.0}]
    lazyllm.launchers.remote().launch(["true"])
    assert double.bodies[1]["entrypoint_num_gpus"] == 1
    double.nodes = [{"CPU": 4.0}]
    with pytest.raises(InputError, match="no node of this Ray cluster has GPUs"):
        lazyllm.launchers.remote(ngpus=1).launch(["true"])


@pytest.mark.parametrize("types", [{"n1": "ray.worker.gpu"}, None])
def test_where_nodes_may_be_added_it_waits_with_a_word(
    double: Any, types: dict[str, str] | None, caplog: pytest.LogCaptureFixture
) -> None:
    double.types = types
    with caplog.at_level(logging.WARNING, "lazyllm"):
        RayLauncher(double.url, ngpus=9, sync=False).launch(["true"])
    assert double.bodies[0]["entrypoint_num_gpus"] == 9
    assert any("The job waits until a node is added" in line for line in caplog.messages)


@pytest.mark.parametrize(
    "answer", [(404, "404: Not Found"), (500, "boom"), (200, "{}"), (200, '{"data": {"result": 5}}')]
)
def test_where_nodes_cannot_be_asked_for_there_is_a_line(
    double: Any, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    double.answers["GET /api/v0/nodes"] = [answer]
    with caplog.at_level(logging.INFO, "lazyllm"):
        RayLauncher(double.url, ngpus=9, sync=False).launch(["true"])
    assert any("what is asked for was not checked" in line for line in caplog.messages)


@pytest.mark.parametrize("answer", [(200, "<html>hello</html>"), (404, "<html>nothing</html>"), (404, "{}")])
def test_what_is_no_dashboard_is_told_so(double: Any, answer: Any) -> None:
    double.answers.update({f"GET {path}": [answer] for path in ("/api/v0/nodes", "/api/version", "/api/jobs/")})
    with pytest.raises(LauncherError, match="is no Ray dashboard") as error:
        RayLauncher(double.url).launch(["true"])
    assert "8265" in str(error.value)


def test_the_job_waits_where_it_fits(double: Any) -> None:
    job = RayLauncher(double.url, ngpus=8, ncpus=8, memory="16GB", resources={"a100": 2}, sync=False).makejob(["true"])
    job.quiet = True
    job.start()
    assert job.status is Status.InQueue
