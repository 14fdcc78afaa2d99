"""What is said of Slurm's silence, of answers that cannot be read, and of its reasons."""

import logging
import time

import pytest

from lazyllm.errors import LauncherError
from lazyllm_launch_slurm import cluster, states, submit
from lazyllm_launch_slurm.commands import Answer
from lazyllm_launch_slurm.hints import hint_for


@pytest.mark.parametrize(
    "said, words, hint",
    [
        ("Munge encode failed: Expired credential", "cannot be asked: Munge encode failed", "munge, or log in anew"),
        ("Unable to process configuration file", "cannot be asked: Unable", "SLURM_CONF"),
        ("Slurmctld(primary) at m is DOWN\n*****\n** RESTORE SLURMCTLD **", "answer: Slurmctld.*DOWN\\.", "scontrol"),
    ],
)
def test_why_the_controller_does_not_answer(monkeypatch, said, words, hint):
    monkeypatch.setattr(cluster, "ping", lambda limit, env: Answer(1, "", f"scontrol: error: {said}"))
    begun = time.monotonic()
    with pytest.raises(LauncherError, match=f"The Slurm controller .*{words}") as caught:
        cluster.wait_for_controller(0 if "DOWN" in said else 10)
    assert hint in caught.value.hint and time.monotonic() - begun < 2


def test_a_wait_for_the_controller_is_announced(monkeypatch, caplog):
    answers = [Answer(1, "", "Slurmctld(primary) at m is DOWN"), Answer(0, "")]
    monkeypatch.setattr(cluster, "ping", lambda limit, env: answers.pop(0))
    logging.getLogger("lazyllm").addHandler(caplog.handler)
    cluster.wait_for_controller(7)
    logging.getLogger("lazyllm").removeHandler(caplog.handler)
    assert caplog.messages == [
        "The Slurm controller does not answer (Slurmctld(primary) at m is DOWN); waiting up to 7 s for it."
    ]


def test_answers_that_cannot_be_read(monkeypatch, caplog):
    monkeypatch.setattr(cluster, "wait_for_controller", lambda *_: None)
    monkeypatch.setattr(cluster, "run", lambda argv: Answer(0, "%%% <html>garbage"))
    monkeypatch.setattr(cluster, "_held", {})
    with pytest.raises(LauncherError, match="sinfo cannot list .*no list of nodes .%%% <html>garbage"):
        cluster.read_nodes()
    monkeypatch.setattr(submit, "wait_for_controller", lambda: None)
    said = iter([Answer(0, ""), Answer(0, "ok\n"), Answer(0, "7;big\n", "sbatch: Beware.\n")])
    monkeypatch.setattr(submit, "run", lambda argv, **_: next(said))
    for words in ("it said nothing", "it said 'ok'"):
        with pytest.raises(LauncherError, match=f"sbatch named no job number .*{words}"):
            submit.submit([], "", {})
    logging.getLogger("lazyllm").addHandler(caplog.handler)
    assert submit.submit([], "", {}) == ("7", "big")
    logging.getLogger("lazyllm").removeHandler(caplog.handler)
    assert caplog.messages == ["sbatch: Beware"]


def test_more_nodes_named_than_wanted():
    assert "raise nnode" in hint_for("Batch job submission failed: invalid number of nodes (-N 2-1)")


@pytest.mark.parametrize(
    "reason, words",
    [
        ("None", ""),
        ("(Resources)", "what it asks for is not free now (Resources)"),
        ("ReqNodeNotAvail,_UnavailableNodes:n1", "a node that it needs is not available (ReqNodeNotAvail,_Unavail"),
        ("QOSMaxJobsPerUserLimit", "a limit of its account or QOS is reached (QOSMaxJobsPerUserLimit)"),
        ("SomethingNew", "SomethingNew"),
    ],
)
def test_reasons_of_waiting(reason, words):
    assert states.waits(reason).startswith(words) and bool(states.waits(reason)) == bool(words)
