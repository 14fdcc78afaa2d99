"""GPUs that nobody asked for, and what a cluster says of its own."""

from __future__ import annotations

import json
import logging

import pytest

from lazyllm.configs import config
from lazyllm.errors import InputError, LauncherError
from lazyllm.jobs.tools import Answer
from lazyllm.launcher import resolve_launcher
from lazyllm_launch_psij import cluster, gpus
from lazyllm_launch_psij.cluster import has_gpus
from lazyllm_launch_psij.launcher import PsijLauncher


@pytest.fixture
def says(monkeypatch):
    """Have the commands of every cluster say what the test wants: `says(text, code)`."""
    said = [Answer(1, "", "nothing")]
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(cluster, "run", lambda name, argv, **_: asked.append(tuple(argv)) or said[0])
    monkeypatch.setattr(cluster, "SAME", -1.0)
    monkeypatch.setattr(cluster, "_asking", {})
    monkeypatch.delenv("SLURM_CONF", raising=False)

    def say(text, code=0):
        said[0] = Answer(code, text)
        return asked

    return say


@pytest.mark.parametrize(
    "text, queue, has",
    [("debug*|(null)\ngpu|gpu:8\n", None, False), ("debug*|(null)\ngpu|gpu:8\n", "gpu", True),
     ("debug*|gpu:a100:4(S:0-1),lustre:1\n", None, True), ("debug*|lustre:1,gpu:2\n", None, True),
     ("debug*|gpuless:1\n", None, False), ("debug*|(null)\ndebug*|gpu:8\n", None, True),
     ("debug|gpu:8\n", None, None), ("", "nosuch", None)],
)  # fmt: skip
def test_slurm_tells_of_gpus(says, text, queue, has):
    asked = says("\n".join(row for row in text.splitlines() if not queue or row.startswith(queue)))
    assert has_gpus("slurm", queue, None) is has
    assert asked[-1] == ("sinfo", "-h", "-o", "%P|%G", *(("-p", queue) if queue else ()))


def test_what_cannot_be_told_of_gpus(says):
    says("debug*|(null)", code=1)
    assert has_gpus("slurm", None, None) is None
    assert has_gpus("pbs", None, None) is None and has_gpus("lsf", None, None) is None


def launcher(name, monkeypatch, **settings):
    """A launcher as a trainer makes it that was given none."""
    monkeypatch.setattr("lazyllm_launch_psij.wishes.locate", lambda *_: "")
    with config.override(launcher="psij", **{"psij.executor": name, **settings}):
        made = resolve_launcher(None, ngpus=1)
        made.environment()
        return made._fitted(name).ngpus


def test_assumed_gpus_are_ignored_where_there_are_none(says, monkeypatch, caplog):
    says("debug*|(null)\ngpu|gpu:8\n")
    with caplog.at_level(logging.INFO, "lazyllm"):
        assert launcher("slurm", monkeypatch) is None
    assert [line.getMessage() for line in caplog.records] == [
        "On Slurm the default queue has no GPUs, so ngpus is ignored."
    ]
    says("gpu|gpu:8")
    assert launcher("slurm", monkeypatch, **{"psij.queue": "gpu"}) == 1
    says("", code=1)
    assert launcher("slurm", monkeypatch) == 1
    assert launcher("pbs", monkeypatch) == 1 and launcher("lsf", monkeypatch) == 1
    assert launcher("local", monkeypatch) is None


def test_gpus_that_somebody_asked_for_are_not_ignored(says):
    says("debug*|(null)")
    made = PsijLauncher("slurm", ngpus=1)
    assert gpus.fitted(made.wishes, "slurm", assumed=False).ngpus == 1
    with pytest.raises(InputError, match="ngpus=1: the executor 'local' cannot be asked for that"):
        PsijLauncher("local", ngpus=1).launch(["true"])


@pytest.mark.simulated
def test_a_refusal_says_that_nobody_asked(simulated, monkeypatch, tmp_path):
    monkeypatch.setenv("LAZYLLM_HOME", str(tmp_path / "home"))
    (simulated / "down").touch()
    for assumed in ({"ngpus"}, ()):
        made = PsijLauncher("pbs", ngpus=1)
        made.assumed = frozenset(assumed)
        with pytest.raises(LauncherError, match="PBS refused the job") as caught:
            made.launch(["true"])
        assert ("Nobody asked for ngpus=1" in str(caught.value.hint)) is bool(assumed)


def test_a_cluster_says_who_it_is(says, monkeypatch, tmp_path):
    asked = says(
        "ClusterName             = loop\nOther = 1\nSlurmctldHost[0]        = a(127.0.0.1)\nSlurmctldPort = 6817\n"
    )
    assert cluster.identity("slurm", None) == "loop a(127.0.0.1) 6817" and asked[-1] == ("scontrol", "show", "config")
    says("IBM Spectrum LSF 10.1\n\nMy cluster name is c1\nMy master name is m\n")
    assert cluster.identity("lsf", None) == "c1"
    says("Server: pbs01\n    server_state = Active\n")
    assert cluster.identity("pbs", None) == "pbs01" == cluster.identity("pbs_classic", None)
    says("Server: pbs01\n", code=111)
    assert cluster.identity("pbs", None) == "" == cluster.identity("local", None)
    before = len(says(json.dumps({})))
    assert cluster.identity("slurm", {"SLURM_CONF": str(tmp_path / "none")}) == ""
    assert len(asked) == before  # Slurm would look for it for a minute
