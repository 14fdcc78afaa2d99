"""Wishes, options and refusals that need no cluster."""

import subprocess
import sys
from pathlib import Path

import pytest

from lazyllm.configs import config
from lazyllm.errors import InputError, LauncherError
from lazyllm.jobs.command import Command, Ref, Service, Step
from lazyllm.jobs.keys import guarded
from lazyllm.jobs.status import Status
from lazyllm_launch_slurm import cluster, node, options, states, submit
from lazyllm_launch_slurm.commands import Answer, clean
from lazyllm_launch_slurm.container import check_container, container_flags
from lazyllm_launch_slurm.launcher import SlurmLauncher
from lazyllm_launch_slurm.parse import Node


@pytest.mark.parametrize(
    "wish, words",
    [
        ({"nnode": 0}, "nnode=0: expected a whole number from 1"),
        ({"nnode": -1}, "nnode=-1"),
        ({"nproc": 0}, "nproc=0"),
        ({"nproc": True}, "nproc=True"),
        ({"ngpus": -1}, "ngpus=-1: expected a whole number from 0, or None"),
        ({"ngpus": 1.5}, "ngpus=1.5"),
        ({"timeout": 0}, "timeout=0: expected seconds, above 0"),
        ({"timeout": float("nan")}, "timeout=nan"),
        ({"timeout": "1h"}, "timeout='1h'"),
        ({"num_can_use_nodes": 0}, "num_can_use_nodes=0"),
        ({"partition": ""}, "partition=''"),
        ({"account": "a\nb"}, "account="),
        ({"requeue": 1}, "requeue=1: expected True or False"),
        ({"options": {"output": "x"}}, "'output' cannot be given here"),
        ({"options": {"time": 5}}, "Use the keyword timeout"),
        ({"options": {"comment": None}}, "expected text, a number, or True"),
        ({"python": 3}, "python=3: expected the path of a Python"),
        ({"partition": "-x"}, "partition='-x': expected a name as Slurm knows it, or None"),
        ({"sync": 1}, "sync=1: expected True or False"),
    ],
)
def test_refused_at_once(wish, words):
    with pytest.raises(InputError) as caught:
        SlurmLauncher(**wish)
    assert words in str(caught.value)


def test_an_unknown_keyword_is_no_wish():
    with pytest.raises(TypeError, match="ngpu"):
        SlurmLauncher(ngpu=1)


def test_flags():
    wishes = {"account": "a b", "qos": None, "exclusive": True, "no_requeue": False, "cpus_per_task": 2}
    assert options.flags(wishes) == ["--account=a b", "--exclusive", "--cpus-per-task=2"]
    assert [options.minutes(t, 5) for t in (0.5, 55, 56, 60, 3600)] == [2, 2, 3, 3, 62]
    assert [options.minutes(600, 5, limits) for limits in ([600], [660], [300, 3600], [])] == [10, 11, 12, 12]
    assert [options.sooner(told, 65) for told in ("B:USR1@90", "USR1", "10@65500", "@x")] == [
        "B:USR1@155", "USR1@125", "10@65535", "@x",
    ]  # fmt: skip
    assert options.output_file("/a%j/x") == "/a%%j/x" and options.output_file("/a\\b") == "/dev/null"


@pytest.mark.parametrize("hostile", ["a b", "'\"", "$(touch /tmp/x)", "new\nline", "🤖 é", "-x", "", "\udcff", "`id`"])
def test_the_script_passes_on_every_byte(hostile):
    program = "import os,sys; sys.stdout.buffer.write(os.fsencode(sys.argv[1]))"
    text = submit.script([sys.executable, "-c", program, hostile])
    said = subprocess.run(["/bin/sh"], input=text.encode("utf-8", "surrogateescape"), capture_output=True).stdout
    assert said == hostile.encode("utf-8", "surrogateescape")


def test_names_in_slurm_are_plain_and_end_with_the_id():
    assert submit.name_of("fine-tune é $(x) on\ny", "k1234567") == "fine-tune_x_on_y-k1234567"
    assert submit.name_of("🤖", "k1") == "job-k1"


def test_an_enclosing_job_is_not_inherited():
    environ = {"SLURM_CONF": "c", "SLURM_JOB_ID": "1", "SLURM_NTASKS": "8", "SQUEUE_STATES": "R", "LAZYLLM_X": "1"}
    ours = dict.fromkeys(("SBATCH_WAIT", "SBATCH_TIMELIMIT", "SBATCH_PARTITION", "SBATCH_GPUS_PER_NODE"), "1")
    assert clean({**environ, **ours, "SBATCH_ACCOUNT": "a"}) == {
        "SLURM_CONF": "c",
        "LAZYLLM_X": "1",
        "SBATCH_ACCOUNT": "a",
    }


def test_states():
    assert states.STATES["COMPLETED"] is Status.Done and states.STATES["COMPLETING"] is Status.Running
    assert states.STATES["SUSPENDED"] is Status.Pending and states.STATES.get("NEW_WORD") is None
    for reason in ("PartitionNodeLimit", "BadConstraints", "QOSMaxGRESPerJob", "AssocMaxNodePerJobLimit", "QOSMinGRES"):
        assert states.hopeless(reason), reason
    assert states.hopeless("(launch_failed_requeued_held)")
    for reason in (
        "Resources",
        "Priority",
        "None",
        "AssocGrpGRES",
        "QOSMaxJobsPerUserLimit",
        "JobHeldUser",
        "BeginTime",
    ):
        assert states.hopeless(reason) is None, reason


NODES = [
    Node("debug", "n1", "10.0.0.1", {"": 8}, 3, "mixed", 4, None, "up"),
    Node("debug", "n2", "n2", {"": 8}, 8, "mixed", 4, None, "up"),
    Node("debug", "n3", "n3", {"a100": 4}, 0, "idle", 16, 600.0, "up"),
    Node("debug", "n4", "n4", {"": 8}, 0, "drained", 4, None, "up"),
    Node("debug", "n5", "n5", {"": 8}, 0, "mixed$maint", 4, None, "up"),
    Node("debug", "n6", "n6", {}, 0, "idle", 4, None, "up"),
    Node("closed", "n1", "10.0.0.1", {"": 8}, 3, "mixed", 4, None, "inactive"),
]


def test_free_gpus_are_counted_not_assumed():
    mine = cluster.members(NODES, "debug")
    assert cluster.free_gpus(mine) == {"n1": 5, "n3": 4}


@pytest.mark.parametrize(
    "partition, words",
    [("debgu", "Did you mean 'debug'"), ("closed", "takes no jobs: it is inactive"), ("debug,x", "'x'")],
)
def test_partitions(partition, words):
    with pytest.raises(InputError, match=words):
        cluster.members(NODES, partition)


@pytest.mark.parametrize(
    "wish, words",
    [
        ({"nnode": 7}, "nnode=7 is more than the 6 node"),
        ({"ngpus": 9}, "ngpus=9 a node is more than the 8"),
        ({"ngpus": 8, "nnode": 5}, "only 4 node"),
        ({"nproc": 17}, "nproc=17 is more than the 16 CPUs"),
        ({"cpus": 17}, "cpus_per_task=17 is more than the 16 CPUs"),
        ({"cpus": 5, "nproc": 4}, "cpus_per_task=5 for each of nproc=4 is more than the 16 CPUs"),
        ({"gpu_type": "a10"}, "Did you mean 'a100'"),
        ({"gpu_type": "a100", "ngpus": 5}, "more than the 4"),
    ],
)
def test_more_than_there_is(wish, words):
    sizes = {"nnode": 1, "nproc": 1, "ngpus": 0, "gpu_type": None, "timeout": None}
    mine = cluster.members(NODES, "debug")
    cluster.check_sizes(mine, "debug", **sizes)
    with pytest.raises(InputError, match=words):
        cluster.check_sizes(mine, "debug", **{**sizes, **wish})
    with pytest.raises(InputError, match="names no types of GPUs there"):
        cluster.check_sizes([NODES[3]], "debug", **{**sizes, "gpu_type": "a100"})
    with pytest.raises(InputError, match="timeout=700 s is more than the 600 s"):
        cluster.check_sizes([NODES[2]], "debug", **{**sizes, "timeout": 700})


SHARED = [
    *(Node(name, "n1", "n1", {}, 0, "idle", 4, limit, "up") for name, limit in (("long", None), ("short", 3600.0))),
    Node("other", "n2", "n2", {"": 8}, 0, "idle", 4, 600.0, "up"),
]


@pytest.mark.parametrize("partition", ["long,short", "short,long"])
def test_of_several_partitions_one_has_to_give_it_all(partition):
    SlurmLauncher(partition, timeout=7200).wishes.check(SHARED)
    last = partition.split(",")[1]
    with pytest.raises(InputError, match=f"nnode=2 is more than the 1 node.s. of the Slurm partition '{last}'"):
        SlurmLauncher(partition, nnode=2).wishes.check(SHARED)
    with pytest.raises(InputError, match="nnode=2 is more than the 1 node"):  # though there are two in all
        SlurmLauncher("long,other", nnode=2).wishes.check(SHARED)
    SlurmLauncher("long,other", ngpus=8).wishes.check(SHARED)
    with pytest.raises(InputError, match="partition 'other' gives a job"):  # the one has the time, the other the GPUs
        SlurmLauncher("long,other", ngpus=8, timeout=7200).wishes.check(SHARED)
    with pytest.raises(InputError, match="no Slurm partition 'x'"):
        SlurmLauncher(f"{partition},x").wishes.check(SHARED)


def test_without_slurm_on_path(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SLURM_CONF", "/nowhere")
    launcher = SlurmLauncher("debug")
    for action in (lambda: launcher.launch(["true"]), launcher.get_idle_nodes):
        with pytest.raises(LauncherError, match="'scontrol' is not on PATH"):
            action()
    assert not (tmp_path / "home" / "jobs").exists()


def test_the_partition_of_the_configuration_is_the_launchers(monkeypatch):
    assert SlurmLauncher().partition is None
    monkeypatch.setenv("LAZYLLM_SLURM_PART", "debug")
    assert SlurmLauncher().partition == "debug" and SlurmLauncher("small").partition == "small"
    with pytest.raises(InputError, match="partition=5: expected a name as Slurm knows it"):
        SlurmLauncher().get_idle_nodes(partition=5)


def test_a_configuration_that_is_not_there(monkeypatch, tmp_path):
    (tmp_path / "scontrol").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SLURM_CONF", "/nowhere/slurm.conf")
    with pytest.raises(LauncherError, match="cannot stat /nowhere/slurm.conf") as caught:
        SlurmLauncher("debug").launch(["true"])
    assert "SLURM_CONF" in caught.value.hint


def test_objects_are_not_sent():
    with pytest.raises(InputError, match="cannot send the Python object"):
        SlurmLauncher().makejob(print)
    with pytest.raises(InputError, match="cannot be sent to another process"):
        SlurmLauncher().launch("os.path:join", object())


def test_display_mode_submits_nothing(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with config.override(mode="display"):
        SlurmLauncher("debug").launch(["true"])
        with pytest.raises(InputError, match="No Slurm partition is chosen"):
            SlurmLauncher().makejob(["true"])  # nor would anything be, so it is no use to show it


def test_several_processes_go_through_srun():
    launcher = SlurmLauncher("debug", nnode=2, nproc=4)
    job = launcher.makejob(["train", "a b"], name="t")
    argv = job.command.steps[0].argv
    assert argv[0] == "srun" and argv[-2:] == ("train", "a b") and {"--nodes=2", "--ntasks=8"} < set(argv)
    assert "master_port" in job.command.ports and job.name == "t" and job.command.steps[0].name == "train"
    assert job.command.ranks
    alone = SlurmLauncher("debug").makejob(["train"]).command
    assert alone.steps[0].argv == ("train",) and not alone.ranks


def test_a_server_runs_once():
    served = Command((Step(("serve", Ref("port", "port"))),), ports={"port": None}, service=Service())
    assert SlurmLauncher("debug", nnode=2).makejob(served).command.steps == served.steps
    with pytest.raises(InputError, match="cannot serve on one port"):
        SlurmLauncher("debug", nproc=2).makejob(served)


def test_the_api_key_reaches_the_server_as_a_secret():
    served = Command((Step(("serve", Ref("port", "port"))),), ports={"port": None}, service=Service())
    with config.override(api_key="k3y"):
        assert guarded(served, SlurmLauncher.host).secrets == {"LAZYLLM_API_KEY": "k3y"}


def test_containers(monkeypatch):
    assert container_flags(None, ["/a"]) == []
    monkeypatch.setattr(options, "_known", [frozenset({"container-image", "container"})])
    found = container_flags("torch:2", ["/a", "/b", "/a"])
    assert found == ["--container-image=torch:2", "--container-mounts=/a:/a,/b:/b"]
    check_container("torch:2")
    monkeypatch.setattr(options, "_known", [frozenset({"container"})])
    assert container_flags("/bundle", ["/a"]) == ["--container=/bundle"]
    monkeypatch.setattr(options, "_known", [frozenset({"comment"})])
    with pytest.raises(InputError, match="no option --container here"):
        check_container("/bundle")


@pytest.mark.parametrize("told", [True, False])
def test_a_container_that_slurm_would_pass_over(monkeypatch, tmp_path, told):
    monkeypatch.setattr(options, "_known", [frozenset({"container"})])
    conf = tmp_path / "etc" / "slurm.conf"
    said = f"SLURMD_PORT = 1\nSLURM_CONF              = {conf}\n"
    monkeypatch.setattr("lazyllm_launch_slurm.container.run", lambda argv: Answer(0, said))
    if told:
        monkeypatch.setenv("SLURM_CONF", str(conf))
    else:
        monkeypatch.delenv("SLURM_CONF", raising=False)
    bundle = tmp_path / "bundle"
    with pytest.raises(InputError, match="no such folder"):
        check_container(str(bundle))
    bundle.mkdir()
    with pytest.raises(InputError, match=r"no config\.json"):
        check_container(str(bundle))
    (bundle / "config.json").touch()
    with pytest.raises(LauncherError, match=rf"{conf.parent} has no oci\.conf"):
        check_container(str(bundle))
    conf.parent.mkdir()
    (conf.parent / "oci.conf").touch()
    check_container(str(bundle))


def test_what_runs_on_nodes_imports_nothing_else():
    folder = Path(node.__file__).parent
    for name in ("node", "rank", "ends"):
        text = (folder / f"{name}.py").read_text()
        for known in ("lazyllm.jobs import runner", "lazyllm_launch_slurm.ends import ENDS"):
            text = text.replace(f"    from {known}\n", "")
        assert "match " not in text and "lazyllm" not in text
