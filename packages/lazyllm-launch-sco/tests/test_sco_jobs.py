"""launchers.sco at work on the simulated SenseCore, in all its generations."""

import logging
import os
import re
import shlex
import sys
import time
from pathlib import Path

import pytest

import lazyllm
from lazyllm.errors import JobError, LauncherError
from lazyllm.jobs import manage
from lazyllm.jobs.command import Command, Step
from lazyllm.jobs.status import Status
from lazyllm_launch_sco.srun import Srun

ALL = pytest.mark.parametrize("generation", ["older", "newer", "acp"], indirect=True)
ACP_TOO = pytest.mark.parametrize("generation", ["older", pytest.param("acp", marks=pytest.mark.faults)], indirect=True)
NEWEST = pytest.mark.parametrize("generation", ["acp"], indirect=True)
PRINT = "import os,sys; sys.stdout.buffer.write(b'\\0'.join(map(os.fsencode, sys.argv[1:])))"
HOSTILE = [
    "a b", "'single' \"double\"", "$(touch pwned) `id` ${HOME} ${RANK}", "new\nline\r\ttab", "🤖 é ‮", "-x", "--", "",
    "*?[a]", "\\ \\n", "!history", "#!/bin/sh", ";&|<>", "%j %%", "~", "\udcff\udcfe", "a" * 50_000,
]  # fmt: skip

pytestmark = pytest.mark.usefixtures("quick")


@ALL
def test_the_submission_that_is_shown_is_the_one_that_is_made(world, make):
    job = make().makejob(["echo", "it's"])
    shown = job.submission()
    assert not world.calls("srun", "-p") and not world.calls("sco", "acp")
    make().launch(job)
    (made,) = world.calls("srun", "-p") or world.calls("sco", "acp", "jobs", "create")
    assert re.sub(r"JOB\b", job.id, shown) == shlex.join(made)


@ALL
def test_by_its_documented_name(world, make):
    job = make().makejob(Command((Step(["echo", "hello"]),), result="some/path"))
    assert job.status is Status.TBSubmitted
    assert make().launch(job) == "some/path"
    assert job.status is Status.Done and job.output() == "hello\n" and job.ip == "127.0.0.1"
    assert job.jobid.startswith("pt-")
    assert lazyllm.launchers.sco is type(make())


@pytest.mark.parametrize("generation", ["older", "newer"], indirect=True)
def test_a_job_that_begins_right_after_a_look_is_found_by_the_next(make, monkeypatch):
    monkeypatch.setattr(Srun.find, "__defaults__", (60.0,))
    job = make().makejob(["true"])
    make().launch(job)
    assert job.jobid.startswith("pt-")


def test_the_words_of_the_older_generation(world, make):
    job = make(ngpus=2, framework="mpi").makejob(["true"])
    make().launch(job)
    name = f"s_flag_{job.id}"
    argv = world.calls("srun", "-p")[0]
    assert argv[:-1] == [
        "srun", "-p", "part", "--workspace-id", "space", f"--job-name={name}", "-f", "mpi", "-r", "N3lS.Ii.I60.2",
        "-N", "1", "--priority", "normal", "-m", "bash", "-c",
    ]  # fmt: skip
    assert argv[-1].startswith("exec ") and argv[-1].endswith(str(job.record.folder))
    assert ["squeue", "--workspace-id=space", "-o", "jobname,jobid"] in world.calls("squeue")


def test_several_nodes_in_the_older_generation(world, make):
    make(nnode=2).launch(["true"])
    argv = world.calls("srun", "-p")[0]
    assert argv[argv.index("-N") :][:8] == ["-N", "2", "--priority", "normal", "-d", "AllReduce", "bash", "-c"]


@pytest.mark.parametrize("generation", ["newer"], indirect=True)
def test_the_words_of_the_newer_generation(world, make):
    make(nnode=2).launch(["true"])
    argv = world.calls("srun", "-p")[0]
    assert argv[-3:-1] == ["--priority", "normal"] and argv[-1].startswith("exec ") and "bash" not in argv


@NEWEST
def test_the_words_of_the_newest_generation(world, make):
    launcher = make(ngpus=4, quota_type="spot", storage_mounts={"id1": "/mnt/afs", "id2": "/data"}, priority="high")
    job = launcher.makejob(["true"])
    launcher.launch(job)
    argv = world.calls("sco", "acp", "jobs", "create")[0]
    options = dict(zip(argv[4::2], argv[5::2], strict=True))
    assert options.pop("--command").endswith(str(job.record.folder))
    assert options == {
        "--workspace-name": "space", "--aec2-name": "part", "--job-name": f"s_flag_{job.id}",
        "--container-image-url": "registry/image:1", "--training-framework": "pytorch", "--worker-nodes": "1",
        "--worker-spec": "N3lS.Ii.I60.4", "--priority": "high", "--quota-type": "spot",
        "--storage-mount": "id1:/mnt/afs,id2:/data",
    }  # fmt: skip


@ACP_TOO
def test_a_program_is_asked_once_to_end(make, until):
    program = "import signal, time\nfor s in (15, 2): signal.signal(s, lambda n, _: print('asked', n, flush=True))\n"
    program += "print('up', flush=True); signal.pause(); time.sleep(1.5); print('bye')"
    job = make(sync=False).makejob([sys.executable, "-c", program])
    job.start()
    until(lambda: "up" in job.output())
    job.stop()
    assert job.status is Status.Cancelled and job.output() == "up\nasked 15\nbye\n"


@ACP_TOO
def test_the_entry_of_a_failed_job_stays(make, world, monkeypatch):
    removed = []
    monkeypatch.setattr("lazyllm_launch_sco.stop.start", lambda *args: removed.append(args))
    with pytest.raises(JobError, match="exit code 3"):
        make().launch("exit 3")
    assert not removed
    make().launch("exit 0")
    assert len(removed) == 1
    assert not world.calls("sco", "acp", "jobs", "delete") and not world.calls("scancel")  # its entry is looked into


@pytest.mark.parametrize("generation", ["newer"], indirect=True)
def test_arguments_reach_the_program_byte_for_byte(world, make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = make().makejob([sys.executable, "-c", PRINT, *HOSTILE])
    make().launch(job)
    assert job.log.read_bytes() == b"\0".join(os.fsencode(text) for text in HOSTILE)
    assert not (tmp_path / "pwned").exists() and "pwned" not in str(world.calls())


@pytest.mark.parametrize("name", ["%j $(x) 'q'", "back\\slash"])
@pytest.mark.parametrize("generation", ["newer"], indirect=True)
def test_records_under_odd_paths(make, tmp_path, monkeypatch, name):
    monkeypatch.setenv("LAZYLLM_HOME", str(tmp_path / name))
    job = make().makejob(["echo", "here"])
    make().launch(job)
    assert job.output() == "here\n"


@ACP_TOO
def test_the_environment_that_is_carried(world, make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAZYLLM_SOMETHING", "a b\n$(x)")
    monkeypatch.setenv("LAZYLLM_MY_TOKEN", "s3cr3t")
    monkeypatch.setenv("PYTHONPATH", "/p ath")
    job = make().makejob(
        [
            "sh",
            "-c",
            'printf "%s|" "$LAZYLLM_SOMETHING" "$PYTHONPATH" "$PWD" "$LAZYLLM_JOB_ID" "$LAZYLLM_MY_TOKEN" "$PATH"',
        ]
    )
    make().launch(job)
    *found, path, _ = job.output().split("|")
    assert found == ["a b\n$(x)", f"{tmp_path}:/p ath", str(tmp_path), job.id, "s3cr3t"]
    assert path.startswith(str(Path.home() / ".local/bin:"))
    assert "s3cr3t" not in str(world.calls()) and "a b" not in str(world.calls())
    assert not any(b"s3cr3t" in path.read_bytes() for path in job.record.folder.glob("*.json"))


@ACP_TOO
def test_an_environment_is_activated(world, make, tmp_path, monkeypatch):
    local = tmp_path / ".local" / "bin"
    local.mkdir(parents=True)
    (local / "activate").write_text('export ACTIVE="$1"\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LAZYLLM_SCO_ENV_NAME", "my env")
    job = make().makejob(["sh", "-c", "echo $ACTIVE"])
    with pytest.raises(JobError, match="did not start on the node"):
        make().launch(job)  # a container's PATH has no such activate: it says so
    assert "activate" in job.output()


@ACP_TOO
def test_the_address(world, make, until):
    world.control(queue=60)
    job = make(sync=False).makejob(["sleep", "60"])
    job.start()
    with pytest.raises(JobError, match="no address yet"):
        job.get_jobip()
    number = job.jobid if job.jobid.startswith("pt-") else world.every()[0]["name"]
    text = "begun\nLAZYLLMIP 10.9.8.7\n"  # the record's file system lags behind what the container printed
    (job.record.folder / "scheduler.log").write_text(text)
    world.log(number).write_text(text)
    assert job.get_jobip() == "10.9.8.7"
    job.stop()
    assert job.status is Status.Cancelled


@ACP_TOO
def test_a_queued_job_is_stopped(world, make, until):
    world.control(queue=60)
    job = make(sync=False).makejob(["echo", "never"])
    job.start()
    assert job.status is Status.InQueue
    until(lambda: job.jobid.startswith("pt-") and job.status is Status.InQueue)
    job.stop()
    assert job.status is Status.Cancelled and job.details()["reason"] == "stopped"


@ACP_TOO
def test_the_record_is_kept_if_that_is_wished(world, make, monkeypatch, caplog, until):
    monkeypatch.setattr(lazyllm.LOG, "propagate", True)
    monkeypatch.setenv("LAZYLLM_SCO_KEEP_RECORD", "true")
    caplog.set_level(logging.INFO)
    job = make(sync=False).makejob(["sleep", "60"])
    job.start()
    job.wait_ready(20)
    until((job.record.folder / "alive").exists)
    job.stop()
    assert job.status is Status.Cancelled
    by_hand = (
        f"jobs delete --workspace-name space {job.jobid}" if world.calls("sco") else "scancel --workspace-id=space"
    )
    assert by_hand in caplog.text and world.job(job.jobid)
    assert not world.calls("scancel") and not world.calls("sco", "acp", "jobs", "delete")


@ACP_TOO
def test_an_ended_job_is_removed(world, make, until):
    job = make().makejob(["sleep", "0.5"])
    make().launch(job)
    until(lambda: not world.job(job.jobid))


@ACP_TOO
@pytest.mark.parametrize(
    "knobs, wish, words",
    [
        ({"credentials": "expired"}, {}, "access token has expired.*sco init"),
        ({}, {"workspace_name": "spcae"}, "workspace spcae not found.*LAZYLLM_SCO_WORKSPACE"),
        ({}, {"partition": "prat"}, "partition prat does not exist.*partition"),
        ({"refuse": "insufficient GPU quota"}, {}, "insufficient GPU quota.*quota leaves"),
        ({}, {"ngpus": 1000}, "N3lS.Ii.I60.1000 not found: a node has at most 8 GPUs.*Check ngpus"),
        ({"nodes": 2}, {"nnode": 3}, "3 nodes requested, at most 2.*quota leaves"),
        ({"down": "dial tcp: connection refused"}, {}, "connection refused.*when the network"),
    ],
)
def test_refusals(world, make, knobs, wish, words, lazyllm_home):
    world.control(**knobs)
    begun = time.monotonic()
    launcher = make(**wish, generation="acp" if world.knob("generation") == "acp" else "srun")
    with pytest.raises(LauncherError, match=f"(?s)SenseCore refused the job: .*{words}"):
        launcher.launch(["true"])
    assert time.monotonic() - begun < 10
    (found,) = manage.ps()
    assert found.state is Status.Failed and "not started" in found.reason


def test_display_mode_starts_nothing(world, make, monkeypatch, caplog):
    monkeypatch.setattr(lazyllm.LOG, "propagate", True)
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("LAZYLLM_MODE", "display")
    job = make(nnode=2, nproc=4, torchrun=True).makejob(["python", "train.py", "a b"])
    job.start()
    assert "--nnodes ${WORLD_SIZE} --node_rank ${RANK} --master_addr ${MASTER_ADDR}" in caplog.text
    assert "train.py 'a b'" in caplog.text and "Submission: srun -p part" in caplog.text
    assert not world.calls("srun", "-p")


def test_display_mode_needs_no_tools(make, monkeypatch, caplog):
    monkeypatch.setattr(lazyllm.LOG, "propagate", True)
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("LAZYLLM_MODE", "display")
    launcher = make()
    monkeypatch.setenv("PATH", "/nowhere")
    launcher.makejob(["python", "train.py"]).start()
    assert "Command: python train.py" in caplog.text
    assert "cannot be shown: SenseCore's 'srun or sco' is not on PATH" in caplog.text


def test_generations_are_recognised(world, make):
    assert make()._backend().generation == "srun"
    world.control(generation="newer")
    from lazyllm_launch_sco import backend

    backend._detected.clear()
    assert make()._backend().generation == "srun-new"
    assert make(generation="srun")._backend().generation == "srun"
