"""What launchers.psij refuses, and what it asks a scheduler for."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lazyllm.configs import config
from lazyllm.errors import InputError, LauncherError
from lazyllm.jobs.record import Record
from lazyllm_launch_psij.launcher import PsijLauncher
from lazyllm_launch_psij.schedulers import SCHEDULERS
from lazyllm_launch_psij.submit import directives, name_of, script


def test_executors_are_named_once():
    with pytest.raises(InputError) as caught:
        PsijLauncher("condor")
    assert str(caught.value) == "There is no executor 'condor'. Known: local, lsf, pbs, pbs_classic, slurm."


@pytest.mark.parametrize(
    "wish, words",
    [
        ({"executor": "slrum"}, "no executor 'slrum'. Did you mean 'slurm'?\n  Known executors: pbs,"),
        ({"executor": "xyz"}, "Known: local, lsf, pbs, pbs_classic, slurm"),
        ({"executor": "flux"}, "alive until all its jobs have ended"),
        ({"executor": ""}, "executor=''"),
        ({"nnode": 0}, "nnode=0: expected a whole number from 1"),
        ({"nnode": 2}, "nnode=2: launchers.psij runs a job on one node"),
        ({"nnode": True}, "nnode=True"),
        ({"ncpus": 0}, "ncpus=0: expected a whole number from 1, or None"),
        ({"ngpus": -1}, "ngpus=-1: expected a whole number from 0, or None"),
        ({"ngpus": 1.5}, "ngpus=1.5"),
        ({"timeout": 0}, "timeout=0: expected seconds, above 0"),
        ({"timeout": float("nan")}, "timeout=nan"),
        ({"timeout": "1h"}, "timeout='1h'"),
        ({"queue": "a b"}, "queue='a b': expected a name of letters"),
        ({"queue": "$(touch x)"}, "queue='$(touch x)'"),
        ({"queue": "é"}, "queue='é'"),
        ({"queue": "-q"}, "queue='-q': expected a name"),
        ({"account": "a\n#PBS -q x"}, "account="),
        ({"executor": "local", "queue": "q"}, "queue='q'"),
        ({"executor": "pbs", "options": ["x"]}, "options=['x']: expected a dict"),
        ({"executor": "pbs", "options": {"q": "x"}}, "Use the keyword queue"),
        ({"executor": "pbs", "options": {"N": "x"}}, "The launcher sets it"),
        ({"executor": "pbs", "options": {"l": 'a"b'}}, "cannot carry"),
        ({"executor": "pbs", "options": {"l": "$(touch x)"}}, "cannot carry"),
        ({"executor": "pbs", "options": {"l": "a\n#PBS -q x"}}, "cannot carry"),
        ({"executor": "pbs", "options": {"l": ""}}, "cannot carry"),
        ({"executor": "pbs", "options": {"l x": "1"}}, "'l x' is no name of an option"),
        ({"executor": "slurm", "options": {"exclusive": True}}, "expected text or a number"),
        ({"executor": "slurm", "options": {"cpus_per_task": 2}}, "Use the keyword ncpus"),
        ({"executor": "slurm", "options": {"requeue": ""}}, "The launcher sets it"),
        ({"executor": "lsf", "options": {"W": "1:00"}}, "Use the keyword timeout"),
        ({"sync": 1}, "sync=1: expected True or False"),
        ({"python": ""}, "python='': expected the path"),
    ],
)
def test_refused_at_once(wish, words):
    with pytest.raises(InputError) as caught:
        PsijLauncher(**wish)
    assert words in str(caught.value)


def test_no_scheduler_is_chosen(simulated):
    with pytest.raises(InputError, match=r"No scheduler is chosen.*pbs and pbs_classic and lsf"):
        PsijLauncher().launch(["true"])


def test_the_configuration_names_scheduler_and_queue(simulated):
    with config.override(**{"psij.executor": "lsf", "psij.queue": "normal"}):
        assert PsijLauncher().wishes.place() == "lsf" and PsijLauncher().wishes.queue_of("lsf") == "normal"
        assert PsijLauncher(queue="mine").wishes.queue_of("lsf") == "mine"
        assert PsijLauncher("local").wishes.queue_of("local") is None
    with config.override(**{"psij.executor": "lfs"}), pytest.raises(InputError, match="Did you mean 'lsf'"):
        PsijLauncher().launch(["true"])


@pytest.mark.parametrize("name, program", [("pbs", "qsub"), ("lsf", "bsub"), ("slurm", "sbatch")])
def test_without_the_schedulers_commands(name, program, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LAZYLLM_HOME", str(tmp_path / "home"))
    with pytest.raises(LauncherError, match=f"'{program}' is not on PATH"):
        PsijLauncher(name).launch(["true"])
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    "name, lines",
    [
        ("pbs", ["#PBS -N j-k1", "#PBS -l select=1:ncpus=4:ngpus=2", "#PBS -q q1", "#PBS -A acc",
                 "#PBS -l walltime=1:01:00", "#PBS -l mem=8gb", "#PBS -l place=excl", "#PBS -V", "#PBS -r n"]),
        ("pbs_classic", ["#PBS -l nodes=1:ppn=4:gpus=2", "#PBS -q q1"]),
        ("lsf", ["#BSUB -J j-k1", "#BSUB -n 4", '#BSUB -R "span[hosts=1]"', "#BSUB -gpu num=2", "#BSUB -q q1",
                 "#BSUB -P acc", "#BSUB -W 1:01", "#BSUB -env all"]),
        ("slurm", ["#SBATCH --job-name=j-k1", "#SBATCH --nodes=1", "#SBATCH --cpus-per-task=4",
                   "#SBATCH --gres=gpu:2", "#SBATCH --partition=q1", "#SBATCH --account=acc",
                   "#SBATCH --time=1:01:00", '#SBATCH --comment="a b; c"', "#SBATCH --export=ALL",
                   "#SBATCH --no-requeue"]),
    ],
)  # fmt: skip
def test_directives(name, lines):
    options = {"pbs": {"l": ["mem=8gb", "place=excl"]}, "slurm": {"comment": "a b; c"}}.get(name)
    launcher = PsijLauncher(name, "q1", ncpus=4, ngpus=2, account="acc", options=options)
    asked = [(SCHEDULERS[name].name_option, "j-k1"), *launcher.wishes.asked(name)]
    found = directives(name, asked, queue="q1", timeout=3601)
    assert set(lines) <= set(found), found
    assert all(line.startswith("#") for line in found) and not [line for line in found if "PSIJ" in line]
    bare = directives(name, PsijLauncher(name).wishes.asked(name))
    assert not [line for line in bare if "time" in line or "-W" in line or "select" in line], bare


def test_names_are_plain_short_and_end_with_the_id():
    assert name_of("fine-tune é $(x) on\ny", "k1234567", 15) == "fine_t-k1234567"
    assert name_of("🤖", "k1", 15) == "j-k1" and name_of("9lives", "k1", 64) == "j-k1"


@pytest.mark.parametrize(
    "hostile", ["a b", "'\"", "$(touch pwned)", "new\nline", "\n#PBS -q x", "🤖 é", "-x", "\udcff", "`id`", "{{x}}"]
)
def test_the_script_passes_on_every_byte(hostile, tmp_path):
    folder = tmp_path / f"h{hostile}"
    folder.mkdir()
    program = "import os,sys; sys.stdout.buffer.write(os.fsencode(sys.argv[1]))"
    text = script(["#PBS -V"], [sys.executable, "-c", program, hostile], Record(folder))
    done = subprocess.run(
        ["/bin/bash"], input=text.encode("utf-8", "surrogateescape"), capture_output=True, cwd=tmp_path
    )
    assert not done.stdout + done.stderr
    assert (folder / "node.log").read_bytes() == hostile.encode("utf-8", "surrogateescape")
    assert not list(tmp_path.rglob("pwned"))


def test_objects_are_not_sent():
    with pytest.raises(InputError, match="cannot send the Python object"):
        PsijLauncher("pbs").makejob(print)


def test_display_mode_submits_nothing(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with config.override(mode="display"):
        PsijLauncher("pbs").launch(["true"])


def test_the_library_is_imported_late_and_leaves_no_traces(tmp_path):
    program = """
import signal, sys, threading
import lazyllm_launch_psij.hooks
from lazyllm_launch_psij.launcher import PsijLauncher
PsijLauncher("pbs", "q")
assert "psij" not in sys.modules
mine = lambda *_: None
signal.signal(signal.SIGCHLD, mine)
from lazyllm_launch_psij.library import executor
for name in ("pbs", "lsf", "slurm", "local"):
    assert executor(name) is executor(name)
assert signal.getsignal(signal.SIGCHLD) is mine
assert all(t.daemon for t in threading.enumerate() if t is not threading.main_thread())
"""
    environ = {"HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environ, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (tmp_path / "home").exists()
    assert signal.getsignal(signal.SIGCHLD) in (signal.SIG_DFL, signal.SIG_IGN, None)


def test_a_job_submitted_from_a_thread_warns_of_nothing():
    program = "import threading as t; from lazyllm_launch_psij.library import psij; t.Thread(target=psij).start()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_file_is_written_to_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    PsijLauncher("local").launch([sys.executable, "-c", "print(1)"])
    assert not (tmp_path / "user").exists() and Path.home() == tmp_path / "user"
