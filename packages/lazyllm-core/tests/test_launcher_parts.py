"""What authors of launchers find in the core: checks of arguments, records, careful questions, shared pollers."""

import math
import os
import time

import pytest

from lazyllm.errors import InputError, JobError, LauncherError
from lazyllm.jobs import checks, recording, tools
from lazyllm.jobs.command import Command, Ref, Step
from lazyllm.jobs.polling import Poller
from lazyllm.jobs.tools import Answer, Asking


@pytest.mark.parametrize(
    "check, good, bad, words",
    [
        (lambda v: checks.whole("n", v, 1), [1, 9], [0, True, 1.5, "1", None], "expected a whole number from 1."),
        (lambda v: checks.whole("n", v, 0, none=True), [0, None], [-1, "", False], "a whole number from 0, or None."),
        (
            lambda v: checks.seconds("n", v),
            [1, 0.5, None],
            [0, -1, True, math.inf, math.nan, "1h"],
            "None for no limit",
        ),
        (lambda v: checks.seconds("n", v, "the queue's own"), [None], [0], "above 0, or None for the queue's own."),
        (lambda v: checks.flag("n", v), [True, False], [1, "yes", None], "expected True or False."),
        (lambda v: checks.flag("n", v, none=True), [True, None], [0], "expected True, False or None."),
        (
            lambda v: checks.text("n", v, "Slurm"),
            ["a b", None],
            ["", " a", "-a", "a\nb", 3],
            "as Slurm knows it, or None.",
        ),
        (lambda v: checks.text("n", v, "PBS", none=False), ["é"], [None], "expected a name as PBS knows it."),
    ],
)
def test_checks(check, good, bad, words):
    for value in good:
        check(value)
    for value in bad:
        with pytest.raises(InputError) as caught:
            check(value)
        assert str(caught.value).startswith(f"n={value!r}: expected") and words in str(caught.value)


def test_the_check_of_a_python():
    for good in ("/usr/bin/python3", "python with a blank", None):
        checks.python(good)
    for bad in (3, "", " ", "a\0b"):
        with pytest.raises(InputError, match="expected the path of a Python on the node"):
            checks.python(bad)


def test_a_scheduler_that_is_deaf_is_left_alone_for_a_while(monkeypatch):
    asked, answers = (
        [],
        [Answer(0, "yes"), LauncherError("not on PATH"), Answer(None, "", "no answer"), Answer(1, "no")],
    )

    def ask(*args, **kw):
        asked.append((args, kw))
        if isinstance(answer := answers.pop(0), Exception):
            raise answer
        return answer

    asking = Asking(ask)
    assert asking(["a"], limit=1).out == "yes" and asked == [((["a"],), {"limit": 1})]
    assert asking() is None and asking() is None and len(asked) == 3
    assert asking() is None and len(asked) == 3  # it is not asked
    later = time.monotonic() + tools.DEAF
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert asking().out == "no"


def test_what_a_job_takes_along():
    environ = {
        "LAZYLLM_HOME": "/h",
        "LAZYLLM_API_KEY": "k",
        "LAZYLLM_JOB_ID": "outer",
        "LAZYLLM_JOB_DIR": "/d",
        "X": "1",
    }
    assert tools.settings(environ) == {"LAZYLLM_HOME": "/h", "LAZYLLM_API_KEY": "k"}


class Silent(Poller):
    pass


class Other(Poller):
    pass


def test_a_process_has_one_poller_for_each_key(monkeypatch):
    monkeypatch.setattr(Poller, "pollers", {})
    first = Silent.shared(Silent, "a", 1)
    assert Silent.shared(Silent, "a", 1) is first and type(first) is Silent
    assert len({id(first), id(Silent.shared(Silent, "b", 1)), id(Other.shared(Other, "a", 1))}) == 3
    here = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: here + 1)  # in a forked child
    assert Silent.shared(Silent, "a", 1) is not first


def test_a_record_knows_its_age_and_whether_its_submitter_is_dead(lazyllm_home):
    made = recording.create(Command.of(["true"]), name="t", launcher="x", env={})
    assert 0 <= made.age < 60
    made.data["created"] -= 100
    assert made.age >= 100
    me = recording.owner()
    assert not recording.died(me) and not recording.died({})
    assert recording.died({**me, "created": "another process"})
    assert not recording.died({**me, "created": "another process", "numbers": "another machine's"})


def test_a_step_is_called_by_its_name_or_its_program():
    env = ("/usr/bin/env", "x")
    assert [step.title for step in (Step(env, "train"), Step(env), Step((Ref("host"),)))] == ["train", "env", "<host>"]


def test_a_record_is_demanded_of_a_job_that_was_started():
    from lazyllm.jobs.job import Job
    from lazyllm.launcher import LazyLLMLaunchersBase

    class Nowhere(LazyLLMLaunchersBase):
        submit = query = cancel = lambda *_, **__: None

    with pytest.raises(JobError, match="not been started(?s:.*)Call start"):
        Job(Command.of(["true"]), Nowhere()).demand_record()
