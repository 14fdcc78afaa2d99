"""Leases of GPUs: who gets which, who is refused, who lets go when."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing

import pytest

from lazyllm.cli import run
from lazyllm.configs import config
from lazyllm.errors import InputError, JobError, LauncherError
from lazyllm.jobs import manage
from lazyllm.jobs.command import Command, Step
from lazyllm.jobs.status import Status
from lazyllm_launch_local.grant import grant
from lazyllm_launch_local.holders import holders
from lazyllm_launch_local.launcher import EmptyLauncher
from lazyllm_launch_local.leases import CHAIN, Held, Names, leases, turn


def test_each_job_has_a_gpu_of_its_own_and_the_third_is_refused(machine):
    gpus = machine(2)
    first, second = gpus.begin(name="serve one"), gpus.begin(ngpus=1, name="serve two")
    assert (gpus.shown(first), gpus.shown(second)) == ("0", "1") and gpus.leased == [0, 1]
    with pytest.raises(LauncherError) as caught:
        gpus.begin()
    text = str(caught.value)
    keeper = first.details()["runner_pid"]
    assert "ngpus=1 is more than the 0 free of the 2 GPU(s) on this machine" in text
    assert f"GPU 0 is held by job {first.id} (serve one), PID {keeper}, {first.jobid}; GPU 1 is held by job " in text
    stops = ", ".join(f"lazyllm stop {job}" for job in sorted([first.id, second.id]))
    assert f"Wait, or stop one: {stops}. Or share: launchers.empty(ngpus=1, share_gpus=True) or LAZYLLM_SHARE" in text
    assert len(manage.ps()) == 2
    first.stop()
    assert gpus.leased == [1] and gpus.shown(gpus.begin()) == "0"
    second.stop()
    manage.stop(manage.ps(running=True)[0].id)
    assert gpus.leased == []


def test_free_when_the_call_returns(machine):
    gpus = machine(1)
    for _ in range(3):
        EmptyLauncher().launch(["true"])
        assert gpus.leased == []
        with pytest.raises(JobError):
            EmptyLauncher().launch(["false"])
        with pytest.raises(JobError):
            EmptyLauncher().launch(["no-such-program"])
    assert gpus.leased == []


def test_several_at_once(machine):
    gpus = machine(3)
    assert gpus.shown(gpus.begin(ngpus=2)) == "0,1" and gpus.leased == [0, 1]
    with pytest.raises(LauncherError, match=r"ngpus=2 is more than the 1 free of the 3 GPU\(s\)"):
        gpus.begin(ngpus=2)
    assert gpus.leased == [0, 1]
    assert gpus.shown(gpus.begin()) == "2" and gpus.begin(ngpus=0) and gpus.leased == [0, 1, 2]


def test_a_gpu_that_falls_free_meanwhile_is_waited_for(machine, monkeypatch):
    gpus = machine(1)
    monkeypatch.setattr("lazyllm_launch_local.grant.PATIENCE", 20)
    assert gpus.begin(argv=["sleep", "0.2"]) and gpus.shown(gpus.begin()) == "0"


@pytest.mark.parametrize("spelling", ["number", "uuid", "beginning"])
def test_an_outer_setting_is_the_frame(machine, monkeypatch, spelling):
    gpus = machine(3)
    outer = {"number": "1", "uuid": gpus.uuids[1], "beginning": gpus.uuids[1][:-2]}[spelling]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", outer)
    assert gpus.shown(gpus.begin()) == outer and gpus.leased == [1]
    label = f"GPU {outer}" if spelling == "number" else outer
    with pytest.raises(LauncherError, match=f"0 free of the 1 GPU.s. within CUDA_VISIBLE_DEVICES={outer}. {label} is"):
        gpus.begin()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert gpus.shown(gpus.begin(ngpus=2)) == "0,2"


def test_sharing(machine):
    gpus = machine(2)
    gpus.begin(ngpus=2)
    assert gpus.shown(gpus.begin(share_gpus=True)) == "0"  # one's own job may be joined
    assert gpus.shown(gpus.begin(share_gpus=True)) == "1"  # where more is left for each
    with config.override(share_gpus=True):
        assert gpus.shown(gpus.begin(ngpus=2)) == "0,1" and gpus.leased == [0, 0, 0, 1, 1, 1]
        with pytest.raises(LauncherError, match="0 free"):
            gpus.begin(share_gpus=False)


def test_a_listing_shows_who_has_which_gpus(machine, capsys):
    gpus = machine(2)
    job = gpus.begin(ngpus=2, name="both")
    assert manage.info(job.record).gpus == "0,1"
    assert run(["ps"]) == 0 and "empty, GPU 0,1  both" in capsys.readouterr().out
    job.stop()
    assert manage.info(job.record).gpus is None


def test_another_users_gpu_is_joined_only_if_shared(machine, monkeypatch):
    gpus = machine(1)
    mine = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: mine + 54321)
    with closing(Held(gpus.uuids, shared=False)):
        monkeypatch.setattr(os, "getuid", lambda: mine)
        with pytest.raises(LauncherError, match=f"user {mine + 54321}") as caught:
            gpus.begin(share_gpus=True)
        assert "share_gpus" not in str(caught.value) and "lazyllm stop" not in str(caught.value)
    monkeypatch.setattr(os, "getuid", lambda: mine + 54321)
    with closing(Held(gpus.uuids, shared=True)):
        monkeypatch.setattr(os, "getuid", lambda: mine)
        assert gpus.shown(gpus.begin(share_gpus=True)) == "0"


TWICE = [sys.executable, "-c", "import subprocess, sys; [subprocess.Popen(sys.argv[1:]) for _ in 'ab'][0].wait()"]


def test_a_job_may_use_the_gpus_of_the_one_that_starts_it(machine):
    gpus = machine(3)
    outer = gpus.begin(ngpus=2, argv=gpus.inner(name="first"))
    assert gpus.told(outer)[0]["gpus"] == "0" and gpus.leased == [0, 0, 1]
    assert gpus.shown(gpus.begin()) == "2"
    outer.stop()
    outer = gpus.begin(ngpus=2, argv=[*TWICE, *gpus.inner()])
    assert {answer["gpus"] for answer in gpus.told(outer, 2)} == {"0", "1"}
    outer.stop()
    assert gpus.leased == [2]


def test_an_inner_job_that_finds_the_gpu_taken_by_its_sister(machine):
    gpus = machine(1)
    outer = gpus.begin(argv=[*TWICE, *gpus.inner(name="sister")])
    (refused,) = [answer["refused"] for answer in gpus.told(outer, 2) if "refused" in answer]
    assert "(sister)" in refused and f"job {outer.id} " not in refused


def test_a_detached_inner_job_keeps_the_gpu_of_an_outer_one_that_has_ended(machine):
    gpus = machine(1)
    outer = gpus.begin(argv=gpus.inner(seconds=0, detach=True, name="left"))
    assert outer.wait(60) is Status.Done and gpus.leased == [0]
    with pytest.raises(LauncherError, match=r"held by job \w+ \(left\)"):
        gpus.begin()
    manage.stop("left")
    assert gpus.leased == [] and gpus.shown(gpus.begin()) == "0"


def test_a_detached_inner_job_without_a_gpu_keeps_none_of_the_outer_one(machine):
    gpus = machine(2)
    outer = gpus.begin(ngpus=2, argv=gpus.inner({"ngpus": 0}, seconds=0, detach=True, name="left"))
    assert outer.wait(60) is Status.Done and gpus.leased == []
    assert gpus.shown(gpus.begin(ngpus=2)) == "0,1"
    manage.stop("left")


def test_a_detached_inner_job_keeps_no_more_than_its_own(machine):
    gpus = machine(2)
    outer = gpus.begin(ngpus=2, argv=gpus.inner({"ngpus": 1}, seconds=0, detach=True, name="left"))
    assert outer.wait(60) is Status.Done and gpus.leased == [0]
    assert gpus.shown(gpus.begin()) == "1"
    manage.stop("left")


def test_what_a_call_leaves_behind_is_not_for_reap(machine):
    gpus = machine(1)

    def leave():
        return subprocess.Popen(["sleep", "300"], start_new_session=True).pid

    left = EmptyLauncher(subprocess=True).launch(leave)
    try:
        with pytest.raises(LauncherError, match=f"GPU 0 is held by PID {left}") as caught:
            gpus.begin()
        assert f"kill {left}." in str(caught.value) and "reap" not in str(caught.value)
    finally:
        os.kill(left, signal.SIGKILL)
    gpus.shown(gpus.begin())


def test_calls_in_a_child_process(machine):
    gpus = machine(2)
    call = EmptyLauncher(subprocess=True)
    assert call.launch(lambda: (os.environ["CUDA_VISIBLE_DEVICES"], gpus.leased, bool(os.environ[CHAIN]))) == (
        "0", [0], True,
    )  # fmt: skip
    assert gpus.leased == [] and "CUDA_VISIBLE_DEVICES" not in os.environ
    job = EmptyLauncher(subprocess=True, sync=False, ngpus=2).makejob(lambda: time.sleep(300))
    job.start()
    with pytest.raises(LauncherError, match=f"GPU 0 is held by PID {job.jobid}; GPU 1"):
        call.launch(print)
    os.kill(job.jobid, signal.SIGKILL)
    gpus.until(lambda: not gpus.leased)
    assert EmptyLauncher(ngpus=2).launch(lambda: gpus.leased) == []  # in place: this process chooses for itself


def test_an_inner_job_of_a_call(machine):
    gpus = machine(1)
    assert EmptyLauncher(subprocess=True).launch(lambda: gpus.shown(gpus.begin())) == "0"


def test_only_the_job_has_the_descriptors(machine):
    gpus = machine(1)
    job = gpus.begin()
    gpus.until(job.output)
    (lease,) = [lease for lease in leases() if lease.gpu == gpus.uuids[0]]
    assert holders([lease])[0].pids == [job.details()["runner_pid"], int(job.jobid)]


def test_this_process_is_told_as_a_holder(machine):
    with (
        closing(Held(machine(1).uuids, shared=False)),
        pytest.raises(LauncherError, match=f"held by PID {os.getpid()}."),
    ):
        EmptyLauncher().launch(["true"])


def test_a_forked_process_keeps_nothing(machine):
    gpus = machine(1)
    held = Held(gpus.uuids, shared=False)
    with turn():
        pid = os.fork()
        if not pid:
            os._exit(int(any(each.fileno() >= 0 for each in held._sockets)))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0 and gpus.leased == [0]
    held.close()
    assert gpus.leased == []


def test_one_process_chooses_at_a_time():
    with turn(), pytest.raises(LauncherError, match="choosing GPUs for 0.05 s"), turn(0.05):
        pass
    with turn():
        pass


def test_a_job_that_is_not_started_holds_nothing(machine, monkeypatch, tmp_path):
    gpus = machine(1)
    (tmp_path / "file").touch()
    home = os.environ["LAZYLLM_HOME"]
    monkeypatch.setenv("LAZYLLM_HOME", str(tmp_path / "file"))
    with pytest.raises(LauncherError, match="cannot be recorded"):
        gpus.begin()
    monkeypatch.setenv("LAZYLLM_HOME", home)
    assert gpus.shown(gpus.begin()) == "0" and gpus.leased == [0]


def test_a_runner_that_cannot_be_started_holds_nothing(machine, monkeypatch):
    gpus = machine(1)
    with monkeypatch.context() as patch:
        patch.setattr(EmptyLauncher, "python", "/no/such/python")
        with pytest.raises(LauncherError, match="No process can be started"):
            gpus.begin()
        assert gpus.leased == []


def test_a_command_that_chooses_for_itself(machine):
    gpus = machine(2)
    step = Step(["sh", "-c", "echo $CUDA_VISIBLE_DEVICES; exec sleep 300"])
    job = EmptyLauncher(sync=False).makejob(Command(step, env={"CUDA_VISIBLE_DEVICES": "1"}))
    job.start()
    assert gpus.shown(job) == "1" and gpus.leased == []
    both = gpus.begin(ngpus=2)  # nor is a GPU that it does not use kept from others
    other = EmptyLauncher(sync=False).makejob(Command(step, env={"CUDA_VISIBLE_DEVICES": ""}))
    other.start()
    with pytest.raises(LauncherError, match="0 free"):
        gpus.begin()
    for each in (job, both, other):
        each.stop()


def test_no_lease_where_nothing_is_run_or_chosen(machine):
    gpus = machine(1)
    with config.override(mode="display"):
        gpus.begin()
        EmptyLauncher(subprocess=True).launch(print)
    with config.override(cuda_visible=False):
        job = gpus.begin()
    assert gpus.leased == []
    job.stop()


def test_without_the_kernels_table(machine, monkeypatch):
    machine(1)
    monkeypatch.setattr("lazyllm_launch_local.leases.TABLE", "/no/such")
    assert grant(1).variables["CUDA_VISIBLE_DEVICES"] == "0"


def test_strange_names_are_no_leases():
    strange = [Names(f"lazyllm-gpu:{name}") for name in ("", "a", "a:alone:x:t", "a b:alone:0:t", "GPU:alone:0")]
    assert not [lease for lease in leases() if lease.gpu in ("", "a", "a b", "GPU")]
    for names in strange:
        names.close()


def test_the_argument():
    with pytest.raises(InputError, match="share_gpus=1: expected True, False or None"):
        EmptyLauncher(share_gpus=1)
    assert config["share_gpus"] is False
