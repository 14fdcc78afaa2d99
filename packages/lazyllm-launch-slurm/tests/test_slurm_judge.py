"""What follows from Slurm's word for a job's record."""

import json
import os
import time

import pytest

from lazyllm.jobs import recording, runner
from lazyllm.jobs.command import Command
from lazyllm.jobs.runner import write_json
from lazyllm.jobs.status import Status
from lazyllm_launch_slurm import judge as judging
from lazyllm_launch_slurm import node
from lazyllm_launch_slurm.commands import Answer
from lazyllm_launch_slurm.judge import judge
from lazyllm_launch_slurm.parse import JOB_FIELDS, Seen
from lazyllm_launch_slurm.place import Place
from lazyllm_launch_slurm.poller import SlurmPoller

COLUMNS = "JobIDRaw|State|ExitCode|End|JobName\n"
HEADS = ("JOBID", "STATE", "EXIT_CODE", "REASON", "END_TIME", "NAME")


@pytest.fixture
def record():
    made = recording.create(Command.of(["true"]), name="t", launcher="slurm", env={}, owner=None, notify=False)
    made.submitted("12")
    return made


@pytest.fixture(autouse=True)
def cancelled(monkeypatch):
    found = []
    monkeypatch.setattr(judging, "cancel", lambda record, jobid: found.append(jobid) or Answer(0, "", ""))
    return found


def say(record, **status):
    write_json(str(record.folder / "status.json"), {"state": "Running", "node": "slurm/n1", **status})


def seen(record, word, **facts):
    return Seen(word, **{"asked": time.time(), "name": f"t-{record.id}", **facts})


@pytest.mark.parametrize(
    "word, state",
    [
        ("PENDING", Status.InQueue),
        ("CONFIGURING", Status.InQueue),
        ("RUNNING", Status.Running),
        ("COMPLETING", Status.Running),
        ("SUSPENDED", Status.Pending),
        ("A_NEW_WORD", None),
    ],
)
def test_states_that_are_no_end(record, word, state):
    assert judge(record, "12", seen(record, word, reason="Priority")) is state
    assert record.status() == {}


@pytest.mark.parametrize("reason", ["PartitionNodeLimit", "BadConstraints", "QOSMaxGRESPerJob"])
def test_waiting_for_ever_is_an_error(record, cancelled, reason):
    assert judge(record, "12", seen(record, "PENDING", reason=reason)) is Status.Failed
    assert cancelled == ["12"] and reason in record.status()["reason"]


def test_a_controller_without_memory_does_not_end_a_running_job(record, cancelled):
    say(record, started=time.time() - 60)
    assert judge(record, "12", seen(record, "PENDING", reason="launch failed requeued held")) is Status.InQueue
    assert cancelled == [] and record.status()["state"] == "Running"


def test_a_job_that_has_begun_since_is_not_waiting(record):
    say(record, started=time.time() + 1)
    assert judge(record, "12", seen(record, "PENDING")) is None
    say(record, started=time.time() - 60)  # Slurm put it back
    assert judge(record, "12", seen(record, "PENDING")) is Status.InQueue


def test_the_runners_word_is_waited_for(record):
    say(record)
    assert judge(record, "12", seen(record, "COMPLETED", code=0, ended=time.time())) is None
    say(record, state="Done", exit_code=0)
    assert judge(record, "12", seen(record, "COMPLETED", code=0, ended=time.time())) is Status.Done


@pytest.mark.parametrize(
    "word, code, begun, state, words",
    [
        ("CANCELLED", 0, False, Status.Cancelled, "cancelled in Slurm"),
        ("FAILED", -9, True, Status.Failed, "its runner died (Slurm: FAILED, signal 9)"),
        ("OUT_OF_MEMORY", 0, True, Status.Failed, "memory ran out"),
        ("NODE_FAIL", 0, True, Status.Failed, "its node failed"),
        ("FAILED", 2, False, Status.Failed, "the node must see LAZYLLM_HOME"),
        ("TIMEOUT", 0, False, Status.Failed, "time limit"),
        ("COMPLETED", 0, False, Status.Failed, "its runner did not start"),
    ],
)
def test_an_end_without_a_last_word(record, word, code, begun, state, words):
    if begun:
        say(record)
    assert judge(record, "12", seen(record, word, code=code, ended=time.time())) is state
    assert words in record.status()["reason"]


def test_stopped_by_us(record):
    record.ask_to_end()
    assert judge(record, "12", seen(record, "CANCELLED")) is Status.Cancelled
    assert record.status()["reason"] == "stopped"


@pytest.mark.parametrize("facts", [{"word": "GONE"}, {"word": "COMPLETED", "name": "another-k1"}])
def test_a_job_that_slurm_does_not_know(record, facts):
    word = facts.pop("word")
    say(record)
    assert judge(record, "12", seen(record, word, **facts)) is None  # it is young
    path = record.folder / "job.json"
    path.write_text(json.dumps({**record.data, "created": time.time() - 1000}))
    del record.data
    assert judge(record, "12", seen(record, word, **facts)) is None  # a first look
    later(record, 119)
    assert judge(record, "12", seen(record, word, **facts)) is None
    later(record, 2)
    (record.folder / "alive").touch()
    assert judge(record, "12", seen(record, word, **facts)) is None  # it lives
    later(record, 121)
    say(record, machine=os.uname().nodename, runner_pid=os.getpid(), runner_created=runner.token(os.getpid()))
    assert judge(record, "12", seen(record, word, **facts)) is None  # as can be seen here
    say(record)
    judge(record, "12", seen(record, "RUNNING"))
    assert judge(record, "12", seen(record, word, **facts)) is None  # it was known meanwhile
    later(record, 121)
    assert judge(record, "12", seen(record, word, **facts)) is Status.Failed
    assert "no longer knows" in record.status()["reason"] and record.status()["lost"]
    node.take_back(str(record.folder))  # as its runner does if it lives after all
    assert record.state is Status.TBSubmitted


def later(record, seconds):
    """Let Slurm have said its last word so much earlier."""
    path = record.folder / "said.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps({**said, "since": said["since"] - seconds}))


def test_another_clusters_list_says_nothing(record, monkeypatch, caplog):
    path = record.folder / "slurm.json"
    path.write_text(json.dumps({"conf": "", "clusters": "", "cluster": "theirs (h, port 1)"}))
    monkeypatch.setattr(judging, "UNSURE", 0.0)
    monkeypatch.setattr(judging, "LOST", 0.0)
    for mine, state in (("ours (h, port 2)", None), ("", None), ("theirs (h, port 1)", Status.Failed)):
        monkeypatch.setattr(Place, "identity", lambda self, mine=mine: mine)
        judge(record, "12", seen(record, "GONE"))
        assert judge(record, "12", seen(record, "GONE", asked=time.time() + 1)) is state


def test_stopped_before_it_ran_and_unknown(record):
    record.ask_to_end()
    assert judge(record, "12", seen(record, "GONE")) is None
    later(record, 5)
    assert judge(record, "12", seen(record, "GONE")) is Status.Cancelled
    assert record.status()["reason"] == "stopped"


@pytest.mark.parametrize(
    "answer",
    [
        None,
        Answer(1, "", "Unable to contact slurm controller"),
        Answer(None, "", "late"),
        Answer(0, ""),
        Answer(0, "%%% <html>garbage"),
        Answer(0, "JOBID STATE"),
    ],
)
def test_a_query_that_fails_says_nothing(monkeypatch, answer):
    monkeypatch.setattr("lazyllm_launch_slurm.poller.ask", lambda argv, env: answer)
    monkeypatch.setattr("lazyllm_launch_slurm.poller.run", lambda argv, env: pytest.fail("nobody was to be asked"))
    assert SlurmPoller().seen("12") is None


@pytest.fixture
def slurm(monkeypatch):
    """What Slurm's programs say, and, as `asked`, which were called with what."""

    class Said(dict):
        """What each program says."""

    said = Said(squeue=Answer(0, HEAD), sacct=Answer(1, "", "Slurm accounting storage is disabled"))
    said.asked = []
    for name in ("poller.ask", "poller.run", "place.run"):
        monkeypatch.setattr(
            f"lazyllm_launch_slurm.{name}",
            lambda argv, env: said.asked.append(argv) or said.get(argv[0], Answer(0, "")),
        )
    return said


def test_a_purged_job_is_asked_of_the_accounting(slurm):
    slurm["sacct"] = Answer(0, f"{COLUMNS}12|CANCELLED by 1000|0:15|2026-11-22T16:40:48|t-k1\n", "")
    poller = SlurmPoller()
    assert poller.seen("12").word == poller.seen("12").word == "CANCELLED"
    assert [argv[0] for argv in slurm.asked] == ["squeue", "sacct"]
    slurm["sacct"] = Answer(1, "", "Slurm accounting storage is disabled")
    assert poller.seen("13").word == "GONE"
    slurm["sacct"] = Answer(0, "garbage")
    assert poller.seen("15") is None
    slurm["sacct"] = Answer(1, "", "Problem talking to the database: Connection refused")
    assert poller.seen("14") is None
    slurm["squeue"] = Answer(1, "", "Unable to contact slurm controller")
    poller = SlurmPoller()
    assert poller.seen("13") is None


@pytest.mark.parametrize("number", [1, 50])
def test_forgotten_jobs_cost_one_question(slurm, number):
    poller, jobids = SlurmPoller(), [str(n) for n in range(100, 100 + number)]
    slurm["sacct"] = Answer(0, f"{COLUMNS}100|COMPLETED|0:0|2026-11-22T16:40:48|t-k1\n")
    poller.expect(jobids)
    assert [poller.seen(jobid).word for jobid in jobids] == ["COMPLETED"] + ["GONE"] * (number - 1)
    assert [argv[0] for argv in slurm.asked] == ["squeue", "sacct"] and poller.queries == 2
    assert {*slurm.asked[1][4].split(",")} == {*jobids}


HEAD = "".join(cell.ljust(width) for cell, width in zip(HEADS, JOB_FIELDS.values(), strict=True)) + "\n"


def cancellation(record):
    return ("scancel", f"--name=t-{record.id}", f"--user={os.getuid()}", "12")


def listed(number, word, name):
    cells = (number, word, "0", "launch failed requeued held", "N/A", name)
    return "".join(cell.ljust(width) for cell, width in zip(cells, JOB_FIELDS.values(), strict=True)) + "\n"


def test_a_job_that_has_ended_is_taken_from_the_queue(slurm, record):
    for status, name, cancelled in (
        ({"state": "Running"}, f"t-{record.id}", False),
        ({"state": "Done", "ended": time.time()}, f"t-{record.id}", False),  # the list may be older
        ({"state": "Done", "ended": time.time() - 60}, "t-another1", False),
        ({"state": "Done", "ended": time.time() - 60}, f"t-{record.id}", True),
    ):
        say(record, **status)
        slurm.asked.clear()
        slurm["squeue"] = Answer(0, HEAD + listed("12", "PENDING", name))
        poller = SlurmPoller()
        poller.seen("12")
        poller.query(["12"])
        assert [argv for argv in slurm.asked if argv[0] == "scancel"] == [cancellation(record)] * cancelled
    slurm["squeue"] = Answer(
        0, HEAD + "".join(listed(n, w, f"t-{record.id}") for n, w in (("13", "PENDING"), ("12", "RUNNING")))
    )
    slurm.asked.clear()
    SlurmPoller().seen("12")
    assert [argv[0] for argv in slurm.asked] == ["squeue"]


def test_a_controller_that_was_away_at_a_jobs_end_is_asked_once_more(slurm, record):
    say(record, state="Done", ended=time.time() - 60)
    poller = SlurmPoller()
    poller.followed["12"] = time.time() - 60
    slurm["squeue"] = Answer(1, "", "Unable to contact slurm controller")
    poller.query(["12"])
    poller.leave("12")
    slurm["squeue"] = Answer(0, HEAD + listed("12", "PENDING", f"t-{record.id}"))
    poller.query(["12"])  # too early to be believed
    assert "12" in poller.followed
    poller._left["12"] -= 60
    poller.query(["12"])
    assert "12" not in poller.followed and cancellation(record) in slurm.asked
    poller.followed["13"] = time.time()
    poller.leave("13")
    assert not poller.followed
