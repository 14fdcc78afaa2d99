"""What launchers.sco is asked for: what is refused, what a container is told, and what is carried into it."""

import ast
import shlex
import sys
from pathlib import Path

import pytest

import lazyllm
import lazyllm_launch_sco.node
from lazyllm.config_keys import Key
from lazyllm.errors import ArgumentError, InputError, LauncherError
from lazyllm.jobs.command import Command, Step
from lazyllm_launch_sco.carried import variables, with_secrets
from lazyllm_launch_sco.hooks import lazyllm_config_keys
from lazyllm_launch_sco.launcher import ScoLauncher
from lazyllm_launch_sco.ticket import script
from lazyllm_launch_sco.wishes import mounts


@pytest.mark.parametrize(
    "wish, words",
    [
        ({"nnode": 0}, "nnode=0: expected a whole number from 1"),
        ({"nproc": -1}, "nproc=-1"),
        ({"ngpus": 0}, "ngpus=0"),
        ({"nnode": 1.5}, "nnode=1.5"),
        ({"nnode": True}, "nnode=True"),
        ({"workspace_name": ""}, "workspace_name=''"),
        ({"workspace_name": 3}, "workspace_name=3"),
        ({"partition": "--help"}, "partition='--help'"),
        ({"partition": "a\nb"}, "partition="),
        ({"framework": None}, "framework=None"),
        ({"torchrun": 1}, "torchrun=1"),
        ({"python": 3}, "python=3: expected the path of a Python"),
        ({"sync": 1}, "sync=1: expected True or False"),
        ({"timeout": 0}, "timeout=0"),
        ({"generation": "acpp"}, "Did you mean 'acp'"),
        ({"quota_type": "spto"}, "Did you mean 'spot'"),
        ({"storage_mounts": {"id": "relative"}}, "'id:relative' is no mount"),
        ({"storage_mounts": 5}, "5 is no mount"),
    ],
)
def test_bad_wishes(wish, words):
    with pytest.raises(InputError, match=words):
        ScoLauncher(**wish)


def test_unknown_keywords():
    with pytest.raises(ArgumentError, match="no argument 'ngpu'. Did you mean 'ngpus'"):
        ScoLauncher(ngpu=2)


def test_mounts():
    assert mounts({"id": "/mnt/a b"}) == ("id:/mnt/a b",) == mounts("id:/mnt/a b") == mounts(["id:/mnt/a b"])
    assert mounts(None) == ()


def test_what_is_set_is_shown(monkeypatch):
    launcher = ScoLauncher()
    assert (launcher.partition, launcher.workspace_name) == (None, None)
    monkeypatch.setenv("LAZYLLM_SLURM_PART", "part")
    monkeypatch.setenv("LAZYLLM_SCO_WORKSPACE", "space")
    assert (launcher.partition, launcher.workspace_name) == ("part", "space")
    assert ScoLauncher("other").partition == "other"


def test_a_workspace_and_a_partition_are_demanded(lazyllm_home):
    with pytest.raises(InputError, match="No SenseCore workspace is chosen(?s:.*)LAZYLLM_SCO_WORKSPACE"):
        ScoLauncher("part").launch(["true"])
    with pytest.raises(InputError, match="No SenseCore partition is chosen(?s:.*)LAZYLLM_SLURM_PART"):
        ScoLauncher(workspace_name="space").launch(["true"])
    assert not (lazyllm_home / "jobs").exists()


def test_tools_are_demanded(monkeypatch, tmp_path, lazyllm_home):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LauncherError, match="SenseCore's 'srun or sco' is not on PATH"):
        ScoLauncher("p", "w").launch(["true"])
    with pytest.raises(LauncherError, match="'srun' is not on PATH"):
        ScoLauncher("p", "w", generation="srun").launch(["true"])
    (tmp_path / "sco").write_text("#!/bin/sh\n")
    (tmp_path / "sco").chmod(0o755)
    with pytest.raises(InputError, match="container image"):
        ScoLauncher("p", "w").launch(["true"])
    assert not (lazyllm_home / "jobs").exists()


def test_the_srun_of_slurm_is_not_taken_for_sensecores(monkeypatch, tmp_path, lazyllm_home):
    words = "echo 'srun: fatal: Could not establish a configuration source' >&2; exit 1"
    (tmp_path / "srun").write_text(f"#!/bin/sh\n{words}\n")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LauncherError, match="The srun on PATH is Slurm's, not SenseCore's"):
        ScoLauncher("p", "w").launch(["true"])
    assert not (lazyllm_home / "jobs").exists()


def test_objects_are_not_sent():
    with pytest.raises(InputError, match="module:function"):
        ScoLauncher("p", "w").launch(print)


def test_nproc_without_torchrun_is_said(caplog, monkeypatch):
    monkeypatch.setattr(lazyllm.LOG, "propagate", True)
    ScoLauncher(nproc=2)
    assert "nproc=2 is for torchrun=True" in caplog.text


def test_settings(monkeypatch):
    assert all(isinstance(key, Key) for key in lazyllm_config_keys())
    assert lazyllm.config["sco.workspace"] == "" and lazyllm.config["sco_keep_record"] is False
    for name, value in {"SCO_WORKSPACE": "w", "SCO_ENV_NAME": "e", "SCO_KEEP_RECORD": "on"}.items():
        monkeypatch.setenv(f"LAZYLLM_{name}", value)
    assert [lazyllm.config[key] for key in ("sco.workspace", "sco_env_name", "sco_keep_record")] == ["w", "e", True]
    assert lazyllm.config["sco_resource_type"] == "N3lS.Ii.I60"


def test_the_command_line_of_a_container(monkeypatch):
    argv = ["/py thon", "-I", "-S", "/runner.py", "/jobs/a'b"]
    line = script(argv, under_bash=True)
    assert shlex.split(line)[:4] == ["exec", "/py thon", "-I", "-S"] and shlex.split(line)[-5:] == argv
    monkeypatch.setenv("LAZYLLM_SCO_ENV_NAME", "my $(env)")
    assert script(argv, under_bash=True) == f"source activate 'my $(env)' && {line}"
    plain = shlex.split(script(argv, under_bash=False))
    assert plain[:3] == ["exec", "bash", "-c"] and plain[3] == f"source activate 'my $(env)' && {line}"


def test_files_for_nodes_are_plain_python_3_8():
    for path in Path(lazyllm_launch_sco.node.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text(), feature_version=(3, 8))
        imports = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        imports |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
        assert imports - {"runner", "lazyllm.jobs"} <= sys.stdlib_module_names  # the runner's file alone is there


def test_what_is_carried(monkeypatch, lazyllm_home):
    monkeypatch.setenv("LAZYLLM_SOMETHING", "a b")
    monkeypatch.setenv("LAZYLLM_OPENAI_API_KEY", "s3cret")
    monkeypatch.setenv("LAZYLLM_db_password", "hidden")
    monkeypatch.setenv("LAZYLLM_RAY_HEADERS", '{"Authorization": "Bearer hidden"}')
    monkeypatch.setenv("LAZYLLM_API_KEY", "")
    monkeypatch.setenv("LAZYLLM_JOB_ID", "outer")
    monkeypatch.setenv("LAZYLLM_HOME", "rel/home")
    found = variables()
    assert found["LAZYLLM_SOMETHING"] == "a b" and found["LAZYLLM_HOME"].endswith("/rel/home")
    assert not {"LAZYLLM_OPENAI_API_KEY", "LAZYLLM_JOB_ID"} & set(found)
    assert "hidden" not in str(found) and "LAZYLLM_API_KEY" not in found
    assert with_secrets(Command.of(["x"])).secrets == {
        "LAZYLLM_OPENAI_API_KEY": "s3cret",
        "LAZYLLM_db_password": "hidden",
        "LAZYLLM_RAY_HEADERS": '{"Authorization": "Bearer hidden"}',
    }
    own = Command((Step(["x"]),), secrets={"LAZYLLM_OPENAI_API_KEY": "own"})
    assert with_secrets(own).secrets["LAZYLLM_OPENAI_API_KEY"] == "own"
