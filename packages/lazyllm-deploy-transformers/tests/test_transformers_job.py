"""The engine under a real launcher: the address that was asked for is the one that is bound, probed and told."""

import httpx
import pytest

pytestmark = pytest.mark.engine


@pytest.fixture
def launched(model_dir, tmp_path, monkeypatch):
    """(keywords) -> the job of a server that answers; it is stopped at the test's end."""
    launchers = pytest.importorskip("lazyllm_launch_local.launcher")
    from lazyllm_deploy_transformers.engine import TransformersDeploy

    monkeypatch.setenv("LAZYLLM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LAZYLLM_API_KEY", raising=False)
    jobs = []

    def launch(**kw):
        engine = TransformersDeploy(launcher=launchers.EmptyLauncher(ngpus=0), start_timeout=90.0, **kw)
        jobs.append(engine.start(str(model_dir)))
        jobs[-1].wait_ready()
        return jobs[-1]

    yield launch
    for job in jobs:
        job.stop()


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
