"""Words of SenseCore's tools and what follows from them; how steps become those of several processes."""

import json
import os
import sys
import time
from pathlib import Path

import pytest

from lazyllm.errors import LauncherError
from lazyllm.jobs.command import Command, Ref, Service, Step
from lazyllm.jobs.function import call_of
from lazyllm.jobs.naming import text_of
from lazyllm.jobs.polling import last_known
from lazyllm.jobs.recording import create, owner
from lazyllm.jobs.runner import write_json
from lazyllm.jobs.status import Status
from lazyllm.jobs.tools import Answer
from lazyllm_launch_sco import judge as judging
from lazyllm_launch_sco import parse
from lazyllm_launch_sco.backend import backend_of
from lazyllm_launch_sco.node import start
from lazyllm_launch_sco.poller import PREFIX, ScoPoller
from lazyllm_launch_sco.states import GONE, STATES, Seen
from lazyllm_launch_sco.stop import stop
from lazyllm_launch_sco.ticket import Ticket, ticket_of
from lazyllm_launch_sco.torchrun import spread, spread_steps
from lazyllm_launch_sco.trouble import complaint


def test_ids_are_found_by_name():
    table = "JOBNAME                 JOBID\ns_flag_a1234567         pt-9\nx_s_flag_b7654321 pt-8\n"
    assert parse.listed(table, "s_flag_a1234567") == "pt-9"
    assert parse.listed(table, "s_flag_b7654321") == ""
    assert parse.listed(table, "s_flag_a123456.") == ""
    assert parse.listed("other pt-1\n", "s_flag_a1234567") == ""


@pytest.mark.parametrize("text", ["", "%%% <html>garbage", "the service is being upgraded", "<p>name unknown</p>"])
def test_an_answer_that_is_no_table_says_nothing_of_any_job(text):
    assert parse.listed(text, "s_flag_a1234567") is None


@pytest.mark.parametrize(
    "words, missing",
    [
        ("Error: job pt-1 not found", True),
        ("no such job", True),
        ("training job does not exist", True),
        ("pt-1 does not exist in workspace space", True),
        ("the job's workspace space not found", False),
        ("Error: workspace space not found or permission denied", False),
        ("<title>404 Not Found</title>", False),
        ("profile default does not exist", False),
    ],
)
def test_not_all_that_is_not_found_is_a_job(words, missing):
    assert parse.says_missing(Answer(1, "", words), "pt-1") is missing
    assert not parse.says_missing(Answer(0, words), "pt-1") and not parse.says_missing(Answer(None, "", words), "pt-1")


@pytest.mark.parametrize(
    "text, jobid",
    [
        ("job pt-abc123 submitted successfully", "pt-abc123"),
        ("Info: using profile default\njob 'pt-x1' submitted successfully\n", "pt-x1"),
        ("created: pt-00ff11aa", "pt-00ff11aa"),
        ("something else", None),
    ],
)
def test_ids_of_the_newest_tool(text, jobid):
    assert parse.created(text) == jobid


@pytest.mark.parametrize(
    "text, word",
    [
        ('{"status_phase": "RUNNING"}', "running"),
        ('{"state": " Queueing "}', "queueing"),
        ('warning: new version\n{"state": "SUCCEEDED", "status_phase": ""}', "succeeded"),
        ('{"status_phase": null}', None),
        ('{"status_phase": 3}', None),
        ('["running"]', None),
        ('{"status_phase": "RUN', None),
        ("the service is being upgraded", None),
        ("", None),
    ],
)
def test_states_in_what_is_printed(text, word):
    assert parse.state_word(parse.facts_of(text)) == word


def test_every_documented_state():
    assert STATES["running"] is Status.Running
    assert {STATES[w] for w in ("tbsubmitted", "suspending")} == {Status.TBSubmitted}
    queued = ("waiting", "init", "queueing", "creating", "restarting", "recovering", "starting")
    assert {STATES[w] for w in queued} == {Status.InQueue}
    assert (STATES["suspended"], STATES["succeeded"], STATES["failed"]) == (
        Status.Cancelled,
        Status.Done,
        Status.Failed,
    )
    assert "wait_quota" not in STATES and len(STATES) == 13


def test_lists_of_jobs():
    rows = [{"name": "pt-1", "create_time": "1"}, {"name": "pt-2", "create_time": "2"}, {"title": "?"}, 7]
    assert [row["name"] for row in parse.jobs_of(json.dumps(rows))] == ["pt-2", "pt-1"]
    assert [row["name"] for row in parse.jobs_of(json.dumps({"jobs": rows}))] == ["pt-2", "pt-1"]
    assert parse.jobs_of("[]") == [] and parse.jobs_of("no jobs") is None and parse.jobs_of('{"a": 1}') is None


def test_addresses_in_what_is_printed():
    assert parse.address_in("x\nLAZYLLMIP 10.1.2.3\nLAZYLLMIP 10.1.2.4\n") == "10.1.2.4"
    assert parse.address_in("worker-0: LAZYLLMIP fd00::1\n") == "fd00::1"
    assert parse.address_in("LAZYLLMIP") is None


@pytest.mark.parametrize(
    "words, hint",
    [
        ("authentication failed: access token has expired (401)", "sco init"),
        ("AccessKey is not found", "sco init"),
        ("workspace w not found or permission denied", "LAZYLLM_SCO_WORKSPACE"),
        ("partition p does not exist", "LAZYLLM_SLURM_PART"),
        ('unknown command "acp" for "sco"', "sco components install all"),
        ("unknown flag: --worker-nodes", "generation"),
        ("insufficient GPU quota", "ngpus"),
        ("no answer within 60 s", "Try again"),
        ("?!", "SenseCore's own"),
    ],
)
def test_complaints_keep_the_words_and_say_what_mends_them(words, hint):
    error = complaint("SenseCore refused the job", Answer(1, "", f"Error: {words}\n"))
    assert error.message == f"SenseCore refused the job: {words}." and hint in error.hint


TRAIN = Command((Step(["python", "train.py", "a b", "${RANK}"]), Step(["python", "merge.py"], once=True)))
ONE = "python -m torch.distributed.run --nproc_per_node 4 --nnodes 1 --node_rank 0"
MANY = (
    "python -m torch.distributed.run --nproc_per_node 4 --nnodes ${WORLD_SIZE} --node_rank ${RANK} "
    "--master_addr ${MASTER_ADDR} --master_port ${MASTER_PORT}"
)


def test_torchrun_as_it_is_shown():
    one = spread(TRAIN, nnode=1, nproc=4, torchrun=True, python="/py")
    assert text_of(one) == f"{ONE} --master_port <master_port> train.py 'a b' '${{RANK}}'\n  python merge.py"
    many = spread(TRAIN, nnode=2, nproc=4, torchrun=True, python="/py")
    assert many.show() == f"{MANY} train.py 'a b' '${{RANK}}'\npython merge.py"
    assert many.describe()["command"] == many.show() and many.describe()["argv"][1] == ["python", "merge.py"]
    assert spread_steps(one) == 0 and spread_steps(many) == 1
    assert many.steps[1].argv[4] == "alone" and many.to_json()["steps"][0]["argv"][-1] == "${RANK}"


@pytest.mark.parametrize(
    "argv, words",
    [
        (["/usr/bin/python3.11", "-m", "pkg.train", "x"], "/usr/bin/python3.11 -m torch {} -m pkg.train x"),
        (["python", "-u", "t.py"], "python -m torch {} --no-python python -u t.py"),
        (["python", "-c", "1"], "python -m torch {} --no-python python -c 1"),
        (["accelerate", "launch"], "python -m torch {} --no-python accelerate launch"),
        (["python"], "python -m torch {} --no-python python"),
        ("python train.py 'a b'", "python -m torch {} train.py 'a b'"),
        ("  python3.12 -m pkg.train x=1", "python3.12 -m torch {} -m pkg.train x=1"),
        ("python t.py > log", "python -m torch {} --no-python bash -c 'python t.py > log'"),
        ("python t.py $DATA", "python -m torch {} --no-python bash -c 'python t.py $DATA'"),
        ("X=1 python t.py", "python -m torch {} --no-python bash -c 'X=1 python t.py'"),
        ("python 'half", "python -m torch {} --no-python bash -c 'python '\"'\"'half'"),
    ],
)
def test_what_torchrun_is_given(argv, words):
    found = spread(Command.of(argv), nnode=1, nproc=1, torchrun=True, python=sys.executable).show()
    options = "--nproc_per_node 1 --nnodes 1 --node_rank 0 --master_port <master_port>"
    assert found == words.replace("torch {}", f"torch.distributed.run {options}")


def test_servers_and_single_steps_stay_single():
    server = Command((Step(["serve", Ref("port", "port")]),), ports={"port": None}, service=Service())
    assert spread(server, nnode=2, nproc=2, torchrun=True, python="/py") is server
    once = Command((Step(["python", "x.py"], once=True),))
    assert spread(once, nnode=1, nproc=2, torchrun=True, python="/py") == once
    assert spread(TRAIN, nnode=1, nproc=1, torchrun=False, python="/py") is TRAIN


@pytest.fixture
def record(lazyllm_home):
    return create(Command.of(["x"]), name="x", launcher="sco", env={})


def judged(record, word, lasting=0.0):
    """Judge twice, as two processes that ask `lasting` seconds apart, and nothing in between."""
    for asked in (time.time(), time.time() + lasting):
        found = judging.judge(record, "pt-1", Seen(word, asked, "pt-1"), backend_of("srun", "space"))
    return found


def test_what_is_not_known_is_no_failure(record):
    for word in ("", "wait_quota", "exploded"):
        assert judged(record, word, 1e6) is None
    assert not record.state.ended


@pytest.mark.parametrize(
    "word, lasting, expected",
    [
        ("queueing", 0, Status.InQueue),
        ("running", 0, Status.Running),
        ("suspending", 0, Status.TBSubmitted),
        ("succeeded", 0, None),
        ("succeeded", 9, Status.Done),
        ("failed", 1, None),
        ("failed", 9, Status.Failed),
        ("suspended", 0, Status.Cancelled),
        (GONE, 0, None),
        (GONE, 99, None),
    ],
)
def test_what_follows_for_a_young_job_without_a_word(record, word, lasting, expected):
    assert judged(record, word, lasting) is expected


def begun(record, seconds):
    started = {"state": "Running", "node": "elsewhere", "started": time.time() - seconds}
    write_json(str(record.folder / "status.json"), started)


def test_the_status_never_goes_back(record):
    """A job that is listed late, runs, and is not told of any more; its runner is silent, then far ahead."""
    words = ("", "tbsubmitted", "queueing", "running", "", "suspending", GONE)
    known = [last_known(record, judged(record, word)) for word in words]
    waits, early, runs = Status.InQueue, Status.TBSubmitted, Status.Running
    assert known == [waits, early, waits, runs, runs, early, runs], "but for SenseCore's own words for TBSubmitted"
    assert last_known(record, judged(record, "recovering")) is Status.InQueue
    begun(record, 5)
    assert [last_known(record, judged(record, word)) for word in words] == [Status.Running] * 7
    assert judged(record, "recovering") is Status.InQueue
    begun(record, 60)
    assert judged(record, "queueing") is Status.InQueue  # it was put back


@pytest.mark.parametrize(
    "env, text, words",
    [
        ("tunning", "bash: line 1: activate: No such file or directory\n", "failed): bash: line 1: activate: No such"),
        ("", "bash: line 1: activate: No such file or directory\n", "`source activate`, which must work there"),
        ("tunning", "exec: /x/python: not found\n", "this Python under the same paths; sco_env_name"),
        ("", "exec: /x/python: not found\n", None),
    ],
)
def test_a_wrong_environment_is_named(record, env, text, words):
    Ticket("srun", "space", env=env).write(record)
    (record.folder / "scheduler.log").write_text(text)
    assert judged(record, "failed", 9) is Status.Failed
    reason = record.status()["reason"]
    assert ("sco_env_name (LAZYLLM_SCO_ENV_NAME)" in reason) is (words is not None) and (words or "") in reason
    assert f"`source activate {env}`" in reason or not env


def test_a_ticket_is_read_as_it_was_written(record):
    written = Ticket("srun", "space", ("/a", "/b"), 2, nodes=3, env="e")
    written.write(record)
    assert ticket_of(record) == written and written.submitter == owner()
    for damaged in ("", "[]", '{"generation": "srun"}', '{"pythonpath": 3, "submitter": {}}'):
        (record.folder / "sco.json").write_text(damaged)
        assert ticket_of(record) is None


def test_a_job_of_one_node_has_no_rank(record, monkeypatch):
    """RANK may be that of the process that submitted it, if the tools pass the environment on."""
    ran = []
    monkeypatch.setattr(start, "watch", lambda argv, *_, **__: ran.append(argv) or 0)
    monkeypatch.setattr(start, "address", lambda *_: "127.0.0.1")
    monkeypatch.setattr(os, "environ", {**os.environ, "RANK": "1"})
    for nodes in (1, 2):
        Ticket("srun", "space", nodes=nodes).write(record)
        start.main(["runner.py", str(record.folder)])
    first = str(Path(start.__file__).with_name("first.py"))
    assert ran[0] == [first, "runner.py", str(record.folder)] and ran[1][-2].endswith("worker.py")


def test_what_several_processes_return(record):
    function = call_of("os:getpid", (), {}, sys.executable)
    for nnode, torchrun in ((1, True), (2, False), (2, True)):
        assert spread(function, nnode=nnode, nproc=2, torchrun=torchrun, python="/py").to_json()["ranks"] is True
    assert not spread(function, nnode=1, nproc=1, torchrun=False, python="/py").ranks
    once = Command((Step(["python", "x.py"], once=True),))
    assert not spread(once, nnode=2, nproc=1, torchrun=False, python="/py").ranks


def test_a_job_whose_runner_never_began_says_why(record):
    (record.folder / "scheduler.log").write_text("ImagePullBackOff: no such image\n")
    assert judged(record, "failed", 9) is Status.Failed
    assert "did not start on the node" in record.status()["reason"]
    assert "ImagePullBackOff" in record.log.read_text()


def test_a_lost_job(record):
    record.data["created"] -= 100
    assert judged(record, GONE, 5) is None
    assert judged(record, "queueing") is Status.InQueue  # it is listed again
    assert judged(record, GONE, 5) is None
    assert judged(record, GONE, 20) is Status.Failed
    assert record.status()["reason"] == "SenseCore does not have it, and it never ran"


def test_a_stopped_job_that_is_gone(record):
    record.ask_to_end()
    assert judged(record, GONE) is Status.Cancelled and record.status()["reason"] == "stopped"


def test_a_tool_that_hangs_is_not_asked_by_each_job(monkeypatch):
    asked = []
    monkeypatch.setattr("lazyllm.jobs.tools.run", lambda argv, **_: asked.append(argv) or Answer(None, "", "no answer"))
    for generation in ("srun", "acp"):
        asking = ScoPoller(backend_of(generation, "space"))
        assert [asking.seen(jobid) for jobid in ("s_flag_a", "pt-1", "pt-2")] == [None] * 3
    assert len(asked) == 2


@pytest.fixture
def named(record, lazyllm_home):
    """A job that went by its name when its submitter was killed."""
    record.submitted(PREFIX + record.id)
    who = {**owner(), "created": "another process"}
    Ticket("srun", "space", submitter=who).write(record)
    return record


def scancelled(record, monkeypatch, listed):
    monkeypatch.setattr("lazyllm_launch_sco.stop.PAUSE", 0.0)
    monkeypatch.setattr("lazyllm_launch_sco.srun.Srun.find", lambda *_, **__: listed)
    stop(record, str(record.jobid), backend_of("srun", "space"), force=False)


@pytest.mark.parametrize("enough, times", [(0.0, 1), (60.0, 3)])
def test_a_tool_that_hangs_is_not_asked_three_times_to_stop_a_job(record, monkeypatch, enough, times):
    asked = []
    monkeypatch.setattr("lazyllm_launch_sco.stop.PAUSE", 0.0)
    monkeypatch.setattr("lazyllm_launch_sco.stop.ENOUGH", enough)
    monkeypatch.setattr("lazyllm_launch_sco.acp.Acp.stop", lambda *_: asked.append(1) or Answer(None, "", "no answer"))
    with pytest.raises(LauncherError, match="did not cancel job pt-1: no answer"):
        stop(record, "pt-1", backend_of("acp", "space"), force=False)
    assert len(asked) == times


def test_a_job_whose_submitter_was_killed_is_stopped(named, monkeypatch):
    with pytest.raises(LauncherError, match="no answer when its id was asked for"):
        scancelled(named, monkeypatch, None)
    scancelled(named, monkeypatch, "")
    assert (named.status()["state"], named.status()["reason"]) == ("Cancelled", "stopped before it ran")


def test_a_job_that_is_being_submitted_is_not_given_up(named, monkeypatch):
    Ticket("srun", "space").write(named)
    with pytest.raises(LauncherError, match="not listed"):
        scancelled(named, monkeypatch, "")
    Ticket("srun", "space", submitter={**owner(), "numbers": "another machine's"}).write(named)
    with pytest.raises(LauncherError, match="not listed"):
        scancelled(named, monkeypatch, "")
    named.data["created"] -= 61
    scancelled(named, monkeypatch, "")
    assert named.state is Status.Cancelled
