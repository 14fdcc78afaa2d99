"""The job's folder is away for a moment, as on a file system that nodes share: that ends no training."""

import os
import signal

import pytest

from lazyllm.jobs.command import Command
from lazyllm.jobs.recording import create
from lazyllm.jobs.runner import write_json
from lazyllm_launch_sco.node import lead, worker


@pytest.fixture
def record(lazyllm_home):
    return create(Command.of(["true"]), name="t", launcher="sco", env={}, owner=None, notify=False)


def test_a_node_bears_that_its_folder_is_away_for_a_moment(record, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    node = worker.Worker(str(record.folder))
    assert not node.over()
    away = record.folder.rename(record.folder.with_name("away"))
    assert not node.over()
    away.rename(record.folder)
    assert not node.over()
    record.folder.rename(away)
    monkeypatch.setattr(worker, "AWAY", 0.0)
    assert node.over()


@pytest.fixture
def nodes(record, monkeypatch):
    """The folder in which the nodes of a job of three answer, before it is made."""
    write_json(str(record.folder / "status.json"), {"runner_pid": 1, "runner_created": "x"})
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setattr(lead, "LOOK", 0.0)
    monkeypatch.setattr(worker, "LOOK", 0.0)
    return record.folder / "nodes"


class Faltering:
    """A function that fails a few times, as on a file system that is away for a moment."""

    def __init__(self, function, times=3):
        self.function, self.times = function, times

    def __call__(self, *args, **kw):
        self.times -= 1
        if self.times >= 0:
            raise OSError(116, "Stale file handle")
        return self.function(*args, **kw)


def test_the_first_node_bears_that_its_folder_is_away_for_a_moment(record, nodes, monkeypatch):
    monkeypatch.setattr(os, "makedirs", Faltering(os.makedirs))
    assert lead.begun(str(record.folder), "0", ["true"], 0) == str(nodes)
    (nodes / "done-0-1").touch()
    (nodes / "failed-2.json").write_text('{"code": 4}')
    assert (lead.waited_for(str(nodes), "0"), lead.failure(str(nodes))) == (["2"], {"code": 4})
    monkeypatch.setattr(os, "listdir", Faltering(os.listdir, 2))
    assert (lead.waited_for(str(nodes), "0"), lead.failure(str(nodes))) == (["1", "2"], None)
    (nodes / "failed-2.json").write_text('{"co')
    assert lead.failure(str(nodes)) is None  # half of it has arrived
    monkeypatch.setattr(lead, "AWAY", -1.0)
    nodes.rename(nodes.with_name("away"))
    with pytest.raises(FileNotFoundError):
        lead.failure(str(nodes))


def test_a_node_says_its_word_again_if_the_folder_is_away_for_a_moment(record, nodes, monkeypatch):
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    nodes.mkdir()
    node = worker.Worker(str(record.folder))
    monkeypatch.setattr(worker, "open", Faltering(open), raising=False)
    monkeypatch.setattr(os, "replace", Faltering(os.replace))
    assert node.step({"argv": ["sh", "-c", "echo heard; exit 3"], "words": 0}) == 3
    over = iter([False] * 5)
    monkeypatch.setattr(node, "over", lambda: next(over, True))
    assert node.fail("its step failed", 3) == 3
    assert lead.failure(str(nodes)).items() >= {"code": 3, "output": "heard", "rank": "2"}.items()
