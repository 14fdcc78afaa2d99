"""launchers.slurm at work on a real cluster."""

import logging
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

import lazyllm
from lazyllm.errors import InputError, JobError, LauncherError
from lazyllm.jobs import manage
from lazyllm.jobs.command import Command, Ref, Service, Step
from lazyllm.jobs.status import Status
from lazyllm_launch_slurm.launcher import SlurmLauncher

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm"), pytest.mark.usefixtures("cluster")]
PRINT = "import os,sys; sys.stdout.buffer.write(b'\\0'.join(map(os.fsencode, sys.argv[1:])))"
HOSTILE = [
    "a b", "'single' \"double\"", "$(touch pwned) `id` ${HOME}", "new\nline\r\ttab", "🤖 é ‮", "-x", "--", "", "*?[a]",
    "\\ \\n", "!history", "#!/bin/sh", ";&|<>", "%j %%", "~", "\udcff\udcfe", "a" * 50_000,
]  # fmt: skip
SERVER = [sys.executable, "-m", "http.server", Ref("port", "port"), "--bind", Ref("host")]


def server(**fields) -> Command:
    return Command((Step(SERVER, "serve"),), ports={"port": None}, service=Service(health="/"), **fields)


@pytest.fixture
def launcher():
    return SlurmLauncher("debug")


def test_by_its_documented_name(monkeypatch):
    monkeypatch.setenv("LAZYLLM_SLURM_PART", "debug")
    launcher = lazyllm.launchers.slurm(sync=True)
    job = launcher.makejob(Command((Step(["echo", "hello"]),), result="some/path"))
    assert job.status is Status.TBSubmitted
    assert launcher.launch(job) == "some/path"
    assert job.status is Status.Done and job.output() == "hello\n" and job.ip == "127.0.0.1"
    assert str(job.jobid).isdecimal()


def test_the_submission_that_is_shown_is_the_one_that_is_made(launcher):
    job = launcher.makejob(["bash", "-c", "exec scontrol write batch_script $SLURM_JOB_ID -"])
    shown = job.submission()
    launcher.launch(job)
    line, _, script = re.sub(r"JOB\b", job.id, shown).partition("\n")
    assert script.removesuffix("EOF") == job.output().removesuffix("\n").removesuffix("\0") + "\n"
    told = subprocess.run(["scontrol", "show", "job", job.jobid], capture_output=True, text=True, check=True).stdout
    words = dict(word.removeprefix("--").split("=", 1) for word in shlex.split(line) if "=" in word)
    assert line.startswith("sbatch --parsable -p debug -N 1 -n 1 ")
    assert f"JobName={words['job-name']}\n" in told and f"StdOut={words['output']}\n" in told


def test_a_program_is_asked_once_to_end(launcher):
    program = "import signal, time\nfor s in (15, 2): signal.signal(s, lambda n, _: print('asked', n, flush=True))\n"
    program += "print('up', flush=True); signal.pause(); time.sleep(1); print('bye')"
    job = launcher.makejob([sys.executable, "-c", program])
    job.start()
    job.wait_ready(20)
    time.sleep(0.5)
    job.stop()
    assert job.status is Status.Cancelled
    said = [line for line in job.output().splitlines() if not line.startswith("slurmstepd")]
    assert said == ["up", "asked 15", "bye"]


@pytest.mark.parametrize("name", ["with space", "%j $(x) 'q'", "back\\slash"])
def test_records_under_odd_paths(launcher, tmp_path, monkeypatch, name):
    monkeypatch.setenv("LAZYLLM_HOME", str(tmp_path / name))
    job = launcher.makejob(["echo", "here"])
    launcher.launch(job)
    assert job.output() == "here\n"


def test_the_callers_environment_and_folder(launcher, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAZYLLM_SOMETHING", "a b\n$(x)")
    monkeypatch.setenv("PYTHONPATH", "/p ath")
    monkeypatch.setenv("SLURM_JOB_ID", "99999")
    job = launcher.makejob(
        ["sh", "-c", 'printf %s "$LAZYLLM_SOMETHING|$PYTHONPATH|$PWD|$LAZYLLM_JOB_ID|$SLURM_JOB_ID"']
    )
    launcher.launch(job)
    assert job.output() == f"a b\n$(x)|/p ath|{tmp_path}|{job.id}|{job.jobid}"


def test_secrets_stay_secret(launcher):
    probe = (
        'printf %s "$TOKEN"; cat "$0"; tr "\\0" " " < /proc/$PPID/cmdline; scontrol write batch_script $SLURM_JOB_ID -'
    )
    job = launcher.makejob(Command((Step(["sh", "-c", probe, "/dev/null"]),), secrets={"TOKEN": "s3cr3t"}))
    launcher.launch(job)
    assert job.output().count("s3cr3t") == 1 and "node.py" in job.output()
    assert not any(b"s3cr3t" in path.read_bytes() for path in job.record.folder.glob("*.json"))


def test_gpus_are_granted():
    job = SlurmLauncher("debug", ngpus=3).makejob("echo $CUDA_VISIBLE_DEVICES")
    SlurmLauncher("debug", ngpus=3).launch(job)
    assert len(job.output().split(",")) == 3


def test_idle_nodes_are_counted(until):
    launcher = SlurmLauncher("debug", ngpus=8, sync=False)
    three = SlurmLauncher("debug", ngpus=3, sync=False, num_can_use_nodes=2)
    until(lambda: launcher.get_idle_nodes() == {"n1": 8, "n2": 8, "n3": 8, "n4": 8})
    assert launcher.get_idle_nodes(partion="small") == launcher.get_idle_nodes(partition="small") == {"n1": 8}
    jobs = [made.makejob(["sleep", "60"]) for made in (launcher, launcher, three)]
    for job in jobs:
        job.start()
    until(lambda: sorted(launcher.get_idle_nodes().values()) == [5, 8])
    assert three.get_idle_nodes() == launcher.get_idle_nodes()
    for job in jobs:
        job.stop()
    until(lambda: len(launcher.get_idle_nodes()) == 4)
    assert len(three.get_idle_nodes()) == 2


def test_several_processes_find_each_other(tmp_path):
    script = tmp_path / "meet.py"
    script.write_text(
        "import os, socket\n"
        "e = os.environ\nrank, size = int(e['RANK']), int(e['WORLD_SIZE'])\n"
        "place = (e['MASTER_ADDR'], int(e['MASTER_PORT']))\n"
        "if rank == 0:\n"
        "    s = socket.create_server(place)\n"
        "    got = sorted(s.accept()[0].recv(9).decode() for _ in range(size - 1))\n"
        "    print(got, e['LOCAL_WORLD_SIZE'], e['GROUP_WORLD_SIZE'], flush=True)\n"
        "else:\n"
        "    import time\n"
        "    for _ in range(100):\n"
        "        try: c = socket.create_connection(place); break\n"
        "        except OSError: time.sleep(0.1)\n"
        '    c.sendall(f\'{rank}.{e["LOCAL_RANK"]}.{e["NODE_RANK"]}\'.encode())\n'
    )
    job = SlurmLauncher("debug", nnode=2, nproc=2).makejob([sys.executable, str(script)])
    SlurmLauncher("debug").launch(job)
    assert job.output() == "['1.1.0', '2.0.1', '3.1.1'] 2 2\n"


@pytest.mark.parametrize(
    "argv, code, words",
    [
        (["sh", "-c", 'test "$RANK" = 1 && exit 3; sleep 30'], 3, "failed with exit code 3 in rank 1, on the node n1"),
        (
            ["sh", "-c", 'test "$RANK" = 2 && kill -SEGV $$; sleep 30'],
            139,
            "ended by SIGSEGV in rank 2, on the node n2",
        ),
        (["no-such"], 127, "'no-such' cannot be started: No such file"),
    ],
)
def test_the_first_of_several_that_fails_tells_why(argv, code, words):
    launcher = SlurmLauncher("debug", nnode=2, nproc=2)
    job = launcher.makejob(argv)
    with pytest.raises(JobError, match=words) as caught:
        launcher.launch(job)
    assert caught.value.exit_code == job.details()["exit_code"] == code
    assert job.details()["signal"] == ("SIGSEGV" if code == 139 else None)


def test_what_a_function_returns(tmp_path, monkeypatch):
    (tmp_path / "told.py").write_text(
        "import os, time\ndef rank():\n"
        "    time.sleep(int(os.environ['RANK']))\n"  # so that another's would be the last to be written
        "    return [os.environ['RANK'], os.environ['WORLD_SIZE']]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RANK", "2")  # of whoever submits
    assert SlurmLauncher("debug").launch("os:getpid") > 1
    assert SlurmLauncher("debug", nproc=2).launch("told:rank") == ["0", "2"]


def test_without_munge(tmp_path, monkeypatch):
    conf = tmp_path / "slurm.conf"
    conf.write_text(Path(os.environ["SLURM_CONF"]).read_text().replace("munge.sock", "no.sock"))
    monkeypatch.setenv("SLURM_CONF", str(conf))
    begun = time.monotonic()
    with pytest.raises(LauncherError, match="cannot be asked: .*Munge encode failed") as caught:
        SlurmLauncher("debug").launch(["true"])
    assert "log in anew" in caught.value.hint and time.monotonic() - begun < 5


def test_a_queued_job_is_stopped(launcher):
    blocker = SlurmLauncher("small", ngpus=8, sync=False).makejob(["sleep", "60"])
    waiting = SlurmLauncher("small", ngpus=8, sync=False).makejob(["echo", "never"])
    blocker.start()
    blocker.wait_ready(20)
    waiting.start()
    time.sleep(1)
    assert waiting.status is Status.InQueue
    waiting.stop()
    assert waiting.status is Status.Cancelled and waiting.details()["reason"] == "stopped"
    blocker.stop(force=True)
    assert blocker.status is Status.Cancelled


@pytest.mark.parametrize(
    "wish, error, words",
    [
        ({}, InputError, "No Slurm partition is chosen. This cluster has: debug, small.*LAZYLLM_SLURM_PART"),
        ({"partition": "debgu"}, InputError, "no Slurm partition 'debgu'. Did you mean 'debug'"),
        ({"partition": "closed"}, InputError, "takes no jobs: it is inactive"),
        ({"partition": "debug", "nnode": 5}, InputError, "nnode=5 is more than the 4"),
        ({"partition": "debug", "ngpus": 9}, InputError, "ngpus=9 a node is more than the 8"),
        ({"partition": "debug", "nproc": 5}, InputError, "nproc=5 is more than the 4 CPUs"),
        ({"partition": "small", "timeout": 601}, InputError, "timeout=601 s is more than the 600 s"),
        ({"partition": "debug", "constraint": "fast"}, LauncherError, "Invalid feature.*what constraint can name"),
        ({"partition": "debug", "nodelist": "n9"}, LauncherError, "Invalid node name"),
        ({"partition": "debug", "nodelist": "n1,n2"}, LauncherError, "invalid number of nodes.*raise nnode"),
        ({"partition": "debug", "container": "/no/bundle"}, InputError, "'/no/bundle'.* there is no such folder"),
        ({"partition": "debug", "options": {"nic": 1}}, InputError, "no option --nic here. Did you mean 'nice'"),
    ],
)
def test_bad_wishes(wish, error, words, home):
    with pytest.raises(error, match=f"(?s){words}"):
        SlurmLauncher(**wish).launch(["true"])
    assert error is LauncherError or not (home / "jobs").exists()


def test_what_never_starts_is_an_error_at_once(monkeypatch):
    monkeypatch.setattr("lazyllm_launch_slurm.wishes.check_sizes", lambda *_, **__: None)
    job = SlurmLauncher("debug", nnode=5).makejob(["true"])
    begun = time.monotonic()
    with pytest.raises(JobError, match="never start it: .*Partition(NodeLimit|Config)"):
        SlurmLauncher().launch(job)
    assert time.monotonic() - begun < 5 and job.status is Status.Failed
    again = manage.ps()
    assert [found.state for found in again] == [Status.Failed]


@pytest.mark.parametrize("nproc", [1, 2])
def test_a_signal_for_the_program(nproc, until):
    program = "trap 'echo heard; exit 0' USR1; echo up; while :; do sleep 0.1; done"
    job = SlurmLauncher("debug", nproc=nproc, sync=False).makejob(program)
    job.start()
    until(lambda: job.output().count("up") == nproc)
    subprocess.run(["scancel", "--batch", "--signal=USR1", job.jobid], check=True)  # as sbatch's --signal=B:USR1 does
    assert job.wait(20) is Status.Done and job.output().count("heard") == nproc


def test_further_options_arrive(launcher, monkeypatch):
    monkeypatch.setenv("SBATCH_TIMELIMIT", "7")  # timeout=None means the partition's own
    made = SlurmLauncher("debug", account="team", cpus_per_task=2, requeue=False, options={"comment": "a $(b)\n'c'"})
    job = made.makejob("scontrol show job -o $SLURM_JOB_ID; echo $SLURM_CPUS_PER_TASK")
    made.launch(job)
    told = job.output()
    assert "TimeLimit=01:00:00" in told and "Requeue=0" in told and told.endswith("\n2\n") and "Comment=a $(b)" in told


def test_it_says_what_it_runs(launcher, caplog):
    logger = logging.getLogger("lazyllm")
    logger.addHandler(caplog.handler)
    launcher.launch(["echo", "a b"])
    logger.removeHandler(caplog.handler)
    assert "Command: echo 'a b'" in caplog.text and "echo: a b" in caplog.text
    assert Path(manage.ps()[0].log).name == "output.log"
