"""What schedulers say, and what is made of it. Their answers are written here after their manuals; Slurm's are real."""

from __future__ import annotations

import json
import time

import pytest

from lazyllm.configs import config
from lazyllm.errors import LauncherError
from lazyllm.jobs import manage, recording, runner
from lazyllm.jobs import record as records
from lazyllm.jobs.command import Command, Step
from lazyllm.jobs.job import Job
from lazyllm.jobs.status import Status
from lazyllm.jobs.tools import Answer
from lazyllm_launch_psij import judge as judging
from lazyllm_launch_psij import poller as polling
from lazyllm_launch_psij import unsent
from lazyllm_launch_psij.answers import UNKNOWN, Word, read
from lazyllm_launch_psij.commands import run
from lazyllm_launch_psij.hopeless import hopeless
from lazyllm_launch_psij.judge import judge
from lazyllm_launch_psij.launcher import PsijLauncher
from lazyllm_launch_psij.library import executor
from lazyllm_launch_psij.poller import PsijPoller, Seen
from lazyllm_launch_psij.unsent import judge_unsent

SLURM = """\
JOBID               ST                  NAME                    REASON
1                   PD                  sleep-k1                (ReqNodeNotAvail, Un
2                   R                   j-k2                    None
3                   F                   j-k3                    None
4                   OOM                 j-k4                    OutOfMemory
5                   CA                  j-k5                    None
6                   ??                  j-k6                    None
7                   PD                  j-k7                    launch failed requeu
8                   CD                  j-k8                    None

"""


def states(name: str, text: str) -> dict[str, Status | None]:
    return {jobid: word.status for jobid, word in read(executor(name), name, text).items()}


def test_slurm_reasons_that_psij_does_not_know_do_no_harm():
    assert states("slurm", SLURM) == {
        "1": Status.InQueue, "2": Status.Running, "3": Status.Failed, "4": Status.Failed, "5": Status.Cancelled,
        "7": Status.InQueue, "8": Status.Done,
    }  # fmt: skip
    words = read(executor("slurm"), "slurm", SLURM)
    assert (words["1"].message, words["7"].message) == ("(ReqNodeNotAvail, Un", "launch failed requeu")
    assert (words["1"].name, words["8"].name) == ("sleep-k1", "j-k8")
    assert states("slurm", "") == {} and states("slurm", "slurm_load_jobs error: Unable to contact") == {}


def test_pbs_states_one_by_one():
    jobs = {
        "1.s": {"job_state": "Q", "comment": "Not Running: no resources"},
        "2.s": {"job_state": "R"},
        "3.s": {"job_state": "F", "Exit_status": 0},
        "4.s": {"job_state": "F", "Exit_status": 265},
        "5.s": {"job_state": "F", "Exit_status": 1},
        "6.s": {"job_state": "new"},
        "7.s": {},
        "8.s": {"job_state": "H"},
        "9.s": {"job_state": "F"},
    }
    text = json.dumps({"Jobs": jobs})
    assert states("pbs", text) == {
        "1.s": Status.InQueue, "2.s": Status.Running, "3.s": Status.Done, "4.s": Status.Cancelled,
        "5.s": Status.Failed, "8.s": Status.InQueue, "9.s": Status.Cancelled,
    }  # fmt: skip
    assert read(executor("pbs"), "pbs", text)["1.s"].message == "Not Running: no resources"
    for broken in ("", "no json", "[]", '{"Jobs": 3}', text[:40]):
        assert states("pbs", broken) == {}


def test_lsf_reasons_do_no_harm():
    why = {"EXIT_REASON": "", "KILL_REASON": "", "SUSPEND_REASON": ""}
    rows = [
        {"JOBID": "1", "STAT": "PEND", **why},
        {"JOBID": "2", "STAT": "EXIT", **why, "EXIT_REASON": "TERM_OWNER: job killed by owner"},
        {"JOBID": "3", "ERROR": "Job <3> is not found"},
        {"JOBID": "4", "STAT": "NEW", **why},
        {"JOBID": "5", "STAT": "DONE"},
        {
            "JOBID": "6",
            "STAT": "EXIT",
            **why,
            "EXIT_REASON": "TERM_MEMLIMIT: job killed after reaching LSF memory limit",
        },
    ]
    found = states("lsf", json.dumps({"COMMAND": "bjobs", "RECORDS": rows}))
    assert found == {"1": Status.InQueue, "2": Status.Cancelled, "5": Status.Done, "6": Status.Failed}


class Told(PsijPoller):
    """A poller whose scheduler says what the test has it say; each answer is (exit code, stdout, stderr)."""

    def __init__(self, name, *answers):
        super().__init__(name)
        self.answers = list(answers)
        self.asked_for = []

    def _run(self, jobids):
        self.asked_for.append(jobids)
        answer = self.answers.pop(0)
        return answer and Answer(*answer)


def pbs(**jobs):
    return json.dumps({"Jobs": {f"{key[1:]}.s": {"job_state": state} for key, state in jobs.items()}})


@pytest.mark.parametrize(
    "answer", [None, (None, "", ""), (111, "", "cannot connect"), (0, "", ""), (0, "<html>", ""), (1, pbs(), "")]
)
def test_no_answer_means_unknown(answer):
    assert Told("pbs", answer).seen("1.s") is None


def test_what_was_known_stays_while_nothing_is_heard():
    asked = Told("pbs", (0, pbs(_1="R"), ""), (111, "", "cannot connect"))
    first = asked.seen("1.s")
    asked._asked.clear()
    assert first.status is Status.Running and asked.seen("1.s") is first and len(asked.asked_for) == 2


def test_one_forgotten_job_does_not_hide_the_others():
    unknown = (153, pbs(), "qstat: Unknown Job Id 2.s")
    asked = Told("pbs", (153, "", "qstat: Unknown Job Id 2.s"), (0, pbs(_1="R"), ""), unknown, (0, pbs(_3="Q"), ""))
    asked.query({"1.s", "2.s", "3.s"})
    found = {jobid: seen.status for jobid, seen in asked._known.items()}
    assert found == {"1.s": Status.Running, "2.s": None, "3.s": Status.InQueue}
    assert asked.asked_for == [["1.s", "2.s", "3.s"], ["1.s"], ["2.s"], ["3.s"]]


def test_slurm_lists_all_and_leaves_out_what_it_forgot():
    assert Told("slurm", (0, SLURM, "")).seen("99").status is None
    assert Told("slurm", (0, "", "")).seen("99") is None


@pytest.fixture
def record(tmp_path, monkeypatch):
    monkeypatch.setenv("LAZYLLM_HOME", str(tmp_path / "home"))
    config.override(mode="normal")
    monkeypatch.setattr(unsent, "identity", lambda *_: "")
    command = Command((Step(("true",)),))
    return recording.create(command, name="x", launcher="psij", env={}, host=None, detached=True)


def seen(status, later=0.0):
    return Seen(status, time.time() + later)


def judged(record, name, status, lasting):
    """Judge twice, as two processes that ask `lasting` seconds apart, and nothing in between."""
    judge(record, name, "1.s", seen(status))
    return judge(record, name, "1.s", seen(status, lasting))


def begun(record, **facts):
    runner.write_json(str(record.folder / "status.json"), {"state": "Running", "node": "elsewhere", **facts})


def test_the_record_knows_better(record):
    begun(record)
    for word in (Status.InQueue, Status.Running, Status.Done):  # its runner's last word may be on its way
        assert judge(record, "pbs", "1.s", seen(word)) is Status.Running
    begun(record, state="Done")
    assert judge(record, "pbs", "1.s", seen(Status.Failed)) is Status.Done


@pytest.mark.parametrize(
    "status, words",
    [(Status.Done, "runner died (PBS says that the job is over)"), (Status.Failed, "runner died"),
     (Status.Cancelled, "cancelled in PBS")],
)  # fmt: skip
def test_ends_without_a_last_word(record, status, words):
    begun(record)
    end = Status.Cancelled if status is Status.Cancelled else Status.Failed
    assert judged(record, "pbs", status, 5) is end
    assert words in record.status()["reason"]


def test_an_end_that_two_find_out_at_once_is_told_as_it_was(record, monkeypatch):
    """The wish that keeps a lost job from going on is not taken for that of a user."""
    begun(record)
    finish = records.Record.finish

    def slowly(self, *end):
        assert not self.stopping
        return finish(self, *end)

    monkeypatch.setattr(records.Record, "finish", slowly)
    assert judged(record, "pbs", Status.Failed, 5) is Status.Failed and record.stopping


def test_a_runner_that_could_not_start_tells_why(record):
    (record.folder / "node.log").write_text("noise\nbash: /x/python: No such file or directory\n")
    assert judged(record, "lsf", Status.Failed, 5) is Status.Failed
    assert record.status()["reason"].endswith("did not start on the node: bash: /x/python: No such file or directory")


def test_a_job_that_is_forgotten_is_lost_only_after_a_while(record, monkeypatch):
    assert judged(record, "pbs", None, 100) is Status.InQueue
    monkeypatch.setattr(judging, "UNSURE", 0.0)
    assert judged(record, "pbs", None, 1) is Status.InQueue
    assert judged(record, "pbs", Status.Running, 1) is Status.Running  # it is known again
    assert judged(record, "pbs", None, 5) is Status.Running
    assert judged(record, "pbs", None, 100) is Status.Failed
    assert "PBS no longer knows it" in record.status()["reason"]


def test_a_stopped_job_is_cancelled_however_it_ended(record):
    record.ask_to_end()
    assert judged(record, "lsf", Status.Failed, 5) is Status.Cancelled


def test_a_stopped_job_that_is_forgotten_is_cancelled(record, monkeypatch):
    monkeypatch.setattr(judging, "UNSURE", 0.0)
    begun(record)
    record.ask_to_end()
    assert judged(record, "pbs", None, 100) is Status.Cancelled
    other = recording.create(Command((Step(("true",)),)), name="y", launcher="psij", env={}, host=None, detached=True)
    other.ask_to_end()
    assert judge(other, "pbs", "2.s", seen(None)) is Status.Cancelled  # it has not begun, and never will


def test_the_status_never_goes_back(record):
    """A job that its scheduler starts, then says nothing of, then calls over, and whose runner is silent."""
    known = [
        judge(record, "pbs", "1.s", seen(word)) for word in (None, Status.InQueue, Status.Running, None, Status.Done)
    ]
    assert known == [Status.InQueue] * 2 + [Status.Running] * 3
    assert judging.last_known(records.Record(record.folder)) is Status.Running  # in another process
    assert judge(record, "pbs", "1.s", seen(Status.InQueue)) is Status.InQueue  # it was put back


def test_cancelled_in_the_queue_is_told_at_once(record):
    assert judge(record, "slurm", "1", seen(Status.InQueue)) is Status.InQueue
    assert judge(record, "slurm", "1", seen(Status.Cancelled)) is Status.Cancelled
    assert record.status()["reason"] == "cancelled in Slurm" and record.stopping  # should it start even so


@pytest.mark.parametrize(
    "name, reason, words",
    [("slurm", "PartitionConfig", "no node that large (PartitionConfig). Ask for less"),
     ("slurm", "(DependencyNeverSatis", "Submit it without the dependency"),
     ("slurm", "launch failed requeu", "Ask the administrator why"),
     ("slurm", "QOSMaxCpuPerJobLimit", "limits for each job (QOSMaxCpuPerJobLimit). sacctmgr"),
     ("slurm", "AssocMaxCpuMinutesPe", "limits for each job"),
     ("pbs", "Can Never Run: Insufficient ngpus", "Can Never Run: Insufficient ngpus"),
     ("pbs", "job held, too many failed attempts to run", "too many failed"),
     ("slurm", "Resources", None), ("slurm", "(ReqNodeNotAvail, Un", None), ("slurm", "None", None),
     ("slurm", "QOSMaxJobsPerUserLim", None), ("slurm", "AssocGrpCpuLimit", None), ("slurm", "Dependency", None),
     ("slurm", "JobHeldUser", None), ("slurm", "", None), ("pbs", "Not Running: no resources", None),
     ("lsf", "", None)],
)  # fmt: skip
def test_reasons_that_never_end(name, reason, words):
    found = hopeless(name, reason)
    assert found is None if words is None else words in (found or "")


def test_what_can_never_start_is_cancelled_once_that_is_sure(record, monkeypatch):
    told = []
    monkeypatch.setattr(judging, "cancel", lambda *given, **_: told.append(given))
    words = [("PartitionConfig", 0), ("PartitionConfig", 2), ("Resources", 3), ("PartitionConfig", 2)]
    for reason, later in words:  # a controller that starts has no nodes yet
        assert judge(record, "slurm", "1", Seen(Status.InQueue, time.time() + later, reason)) is Status.InQueue
    last = Seen(Status.InQueue, time.time() + 9, "PartitionConfig")
    assert judge(record, "slurm", "1", last) is Status.Failed and told == [(record, "slurm", "1")]
    assert record.status()["reason"].startswith("Slurm would never start it: its queue has no node that large")


def test_a_record_that_was_read_too_early_learns_the_id(record, monkeypatch):
    unsent.begin(record, "pbs")
    early = records.Record(record.folder)
    assert early.jobid == unsent.SUBMITTING
    record.submitted("1.s")
    monkeypatch.setattr(unsent, "LATE", 0.0)
    monkeypatch.setattr("lazyllm_launch_psij.launcher.poller", lambda *_: Told("pbs", (0, pbs(_1="Q"), "")))
    assert Job.adopt(early, PsijLauncher()).status is Status.InQueue


def test_why_a_job_waits_is_told(record, monkeypatch):
    unsent.begin(record, "slurm")
    record.submitted("1")
    said = Seen(Status.InQueue, time.time() + 1, "(Resources)")
    monkeypatch.setattr("lazyllm_launch_psij.launcher.poller", lambda *_: type("", (), {"seen": lambda *_: said}))
    job = Job.adopt(record, PsijLauncher())
    assert job.status is Status.InQueue and job.waiting_for == "Resources"
    said = Seen(Status.InQueue, time.time() + 1, "None")
    assert job.status is Status.InQueue and job.waiting_for == ""


def test_a_submission_that_died(record, monkeypatch):
    assert judge_unsent(record) is None
    monkeypatch.setattr(unsent, "LATE", 0.0)
    assert judge_unsent(record) is Status.Failed and "submitted it died" in record.status()["reason"]


def submitted_by_a_dead_process(record, name):
    unsent.begin(record, name)
    who = {**recording.owner(), "created": "another process"}
    runner.write_json(str(record.folder / unsent.NOTE), {"executor": name, "submitter": who})


@pytest.mark.parametrize(
    "name, end", [("pbs", ("Cancelled", "stopped before it ran")),
                  ("local", ("Failed", "the program that submitted it died meanwhile"))],
)  # fmt: skip
def test_a_job_whose_submitter_was_killed_is_stopped(record, name, end):
    unsent.begin(record, name)
    with pytest.raises(LauncherError, match="has no id yet"):  # it is being submitted
        PsijLauncher().cancel(Job.adopt(record, PsijLauncher()))
    submitted_by_a_dead_process(record, name)
    manage.stop(record.id)
    assert (record.status()["state"], record.status()["reason"]) == end
    assert name == "local" or record.stopping  # should it start even so


def test_a_job_that_was_submitted_elsewhere_is_stopped_after_a_minute(record):
    unsent.begin(record, "pbs")
    who = {**recording.owner(), "numbers": "another machine's"}
    runner.write_json(str(record.folder / unsent.NOTE), {"executor": "pbs", "submitter": who})
    assert not unsent.given_up(record)
    record.data["created"] -= 61
    assert unsent.given_up(record)


def test_a_local_job_whose_submitter_was_killed_is_failed_at_once(record):
    submitted_by_a_dead_process(record, "pbs")
    assert judge_unsent(record) is None  # its scheduler may have it
    submitted_by_a_dead_process(record, "local")
    assert manage.ps()[0].state is Status.Failed


def test_a_scheduler_that_hangs_is_not_asked_by_each_job(monkeypatch):
    asked = []
    monkeypatch.setattr(polling, "run", lambda *argv, **_: asked.append(argv) or Answer(None, "", "no answer"))
    poller = PsijPoller("pbs")
    assert [poller.seen(f"{n}.s") for n in range(3)] == [None] * 3 and len(asked) == 1
    monkeypatch.setattr(polling, "run", lambda *_, **__: Answer(0, pbs(_1="R"), ""))
    poller._asking._again = time.monotonic()
    poller._asked.clear()
    assert poller.seen("1.s").status is Status.Running


def test_a_job_is_asked_for_where_it_was_submitted(record, monkeypatch, tmp_path):
    (tmp_path / "squeue").write_text('#!/bin/sh\necho "$SLURM_CONF $SLURM_CLUSTERS"\n')
    (tmp_path / "squeue").chmod(0o755)
    with monkeypatch.context() as before:
        before.setenv("SLURM_CONF", "/a")
        before.setenv("PATH", f"{tmp_path}:/bin")
        unsent.begin(record, "slurm")
    monkeypatch.setenv("SLURM_CLUSTERS", "other")
    monkeypatch.delenv("SLURM_CONF", raising=False)
    place = unsent.place_of(record)
    assert place == {"SLURM_CONF": "/a", "PATH": str(tmp_path)}
    assert run("slurm", ["squeue"], place=place).out == "/a \n"
    runner.write_json(str(record.folder / unsent.NOTE), {"executor": "slurm"})
    assert unsent.place_of(record) is None  # it was submitted by an earlier release


@pytest.mark.parametrize(
    "words, unknown",
    [("Job <3> is not found", True), ("qstat: Unknown Job Id 3.s", True), ("pbs01: host is not found", False)],
)
def test_not_all_that_is_not_found_is_a_job(words, unknown):
    assert bool(UNKNOWN.search(words)) is unknown


def test_words():
    assert Word(None).message == "" and Answer(1, "", "a\n\n b ").words == "a; b" and Answer(3, "", "").words
