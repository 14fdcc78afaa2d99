"""Python callables under launchers.empty."""

import os
import time

import pytest

from lazyllm.errors import InputError, JobError, LauncherError, ServiceError
from lazyllm.jobs import runner
from lazyllm.jobs.status import Status
from lazyllm_launch_local.launcher import EmptyLauncher


@pytest.fixture
def forking():
    return EmptyLauncher(subprocess=True, ngpus=0)


def test_in_place():
    def add(a, b=0):
        return a + b, os.getpid()

    assert EmptyLauncher().launch(add, 1, b=2) == (3, os.getpid())
    with pytest.raises(ZeroDivisionError):
        EmptyLauncher().launch(lambda: 1 / 0)


def test_in_a_child(forking):
    value, pid = forking.launch(lambda x: ({"x": [x, None, b"b", (1.5,)]}, os.getpid()), "é")
    assert value == {"x": ["é", None, b"b", (1.5,)]} and pid != os.getpid()


def test_large_results_come_back(forking):
    assert len(forking.launch(lambda: "x" * 10_000_000)) == 10_000_000


class OddError(InputError):
    def __init__(self, *, nearest):
        self.nearest = nearest
        super().__init__("no such name", hint=f"Try {nearest}.")


def thrown(error):
    raise error


def test_exceptions_come_back(forking):
    with pytest.raises(InputError, match="so not"):
        forking.launch(thrown, InputError("so not"))
    with pytest.raises(KeyError, match="k"):
        forking.launch(lambda: {}["k"])
    with pytest.raises(JobError, match="object cannot be handed back"):
        forking.launch(object)


@pytest.mark.parametrize(
    "error",
    [
        InputError("bad", hint="do"),
        JobError("bad", hint="do", exit_code=3, output="last\nlines"),
        ServiceError("bad", status=503),
        OddError(nearest="x"),
    ],
)
def test_our_exceptions_come_back_with_all_that_they_tell(forking, error):
    with pytest.raises(type(error)) as caught:
        forking.launch(thrown, error)
    assert (vars(caught.value), str(caught.value)) == (vars(error), str(error))


def test_the_childs_death_is_an_error(forking):
    with pytest.raises(JobError, match="ended by SIGKILL"):
        forking.launch(lambda: os.kill(os.getpid(), 9))
    with pytest.raises(JobError, match="exit code 7") as caught:
        forking.launch(lambda: os._exit(7))
    assert caught.value.exit_code == 7


def test_without_sync_it_goes_on():
    job = EmptyLauncher(subprocess=True, sync=False).makejob(lambda: time.sleep(60))
    job.start()
    assert job.status is Status.Running
    pid = int(job.jobid)
    job.stop()
    assert job.status is Status.Cancelled and runner.token(pid) is None


def test_only_callables_take_arguments(forking):
    with pytest.raises(InputError, match="Only a function"):
        forking.launch("echo", 1)
    with pytest.raises(InputError, match="detached"):
        forking.makejob(print, detach=True)


def test_a_process_that_cannot_be_forked(forking, monkeypatch):
    def refuse():
        raise OSError(11, "no more processes")

    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(LauncherError, match="no more processes"):
        forking.launch(print)
