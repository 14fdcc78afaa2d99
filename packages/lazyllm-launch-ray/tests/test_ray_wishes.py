"""What a RayLauncher is asked for: checked when it is made, and as Ray gets it."""

from __future__ import annotations

from typing import Any

import pytest

from lazyllm.errors import InputError
from lazyllm_launch_ray.carried import carried
from lazyllm_launch_ray.launcher import RayLauncher
from lazyllm_launch_ray.wishes import Wishes, request


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"ngpus": -1}, "ngpus=-1: expected a number from 0"),
        ({"ngpus": True}, "ngpus=True: expected a number"),
        ({"ngpus": "2"}, "ngpus='2': expected a number"),
        ({"ngpus": 1.5}, "a part of one GPU, or whole ones"),
        ({"ngpus": 0.00001}, "ngpus=1e-05"),
        ({"ncpus": float("nan")}, "ncpus=nan"),
        ({"ncpus": float("inf")}, "ncpus=inf"),
        ({"memory": 0}, "memory=0: expected bytes, above 0"),
        ({"memory": -5}, "memory=-5"),
        ({"memory": "lots"}, "memory='lots'"),
        ({"memory": "0GB"}, "memory='0GB'"),
        ({"memory": 1.5}, "memory=1.5"),
        ({"resources": ["a"]}, "resources=['a']: expected a dict"),
        ({"resources": {"GPU": 1}}, "'GPU' has a keyword of its own"),
        ({"resources": {"": 1}}, "'' is no name"),
        ({"resources": {"a100": 0}}, "expected a number above 0"),
        ({"resources": {"a100": -1}}, "expected a number from 0"),
        ({"timeout": 0}, "timeout=0: expected seconds, above 0"),
        ({"timeout": "1h"}, "timeout='1h'"),
        ({"queue_timeout": -1}, "queue_timeout=-1"),
        ({"queue_timeout": float("inf")}, "queue_timeout=inf"),
        ({"nnode": 2}, "nnode=2: Ray runs a job as one process on one node"),
        ({"nproc": 8}, "nproc=8: Ray runs a job as one process on one node"),
        ({"nnode": 0}, "nnode=0"),
        ({"nnode": True}, "nnode=True"),
        ({"python": ""}, "python=''"),
        ({"python": 3}, "python=3: expected the path of a Python"),
        ({"sync": "yes"}, "sync='yes': expected True or False"),
        ({"gpus": 2}, "Did you mean 'ngpus'"),
        ({"address": "http://"}, "is no address of a Ray dashboard"),
    ],
)  # fmt: skip
def test_bad_wishes_are_refused_when_the_launcher_is_made(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as error:
        RayLauncher(**given)
    assert words in str(error.value)


def test_wishes_reach_ray_under_its_names() -> None:
    wishes = Wishes(ngpus=2, ncpus=0.5, memory="1.5GiB", resources={"a100": 1, "disk": 0.25})
    assert request(wishes.needs()) == {
        "entrypoint_num_gpus": 2,
        "entrypoint_num_cpus": 0.5,
        "entrypoint_memory": 1610612736,
        "entrypoint_resources": {"a100": 1, "disk": 0.25},
    }


def test_no_wish_says_nothing_to_ray() -> None:
    assert request(Wishes().needs()) == request(Wishes(ngpus=0, ncpus=0).needs()) == {}


@pytest.mark.parametrize(
    ("text", "number"), [("500MB", 500_000_000), ("32GiB", 34359738368), ("7", 7), ("1 T", 10**12), (12345, 12345)]
)
def test_memory_is_bytes_or_text_with_a_unit(text: Any, number: int) -> None:
    assert Wishes(memory=text).memory == number


def test_sizes_can_be_read_from_the_launcher() -> None:
    launcher = RayLauncher("head:1", 2, 4, timeout=60, queue_timeout=5, nnode=1, nproc=1, python="/usr/bin/python3")
    assert (launcher.ngpus, launcher.ncpus, launcher.timeout, launcher.queue_timeout) == (2, 4, 60, 5)
    assert (launcher.python, launcher.host, launcher.sync) == ("/usr/bin/python3", None, True)


def test_no_secret_is_carried() -> None:
    names = ("PASSWD", "MY_CREDENTIAL", "db_password", "RAY_HEADERS", "MODEL_SOURCE_TOKEN", "OPENAI_API_KEY")
    found = carried({f"LAZYLLM_{name}": "hidden" for name in names} | {"LAZYLLM_DATA_PATH": "/data"})
    assert found["LAZYLLM_DATA_PATH"] == "/data" and "hidden" not in found.values()
