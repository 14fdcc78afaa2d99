"""Hands a job to Ray, once however often it is asked, and asks for its end."""

from __future__ import annotations

import json
import math
import shlex
import time
from collections.abc import Mapping, Sequence
from typing import Any

from lazyllm.errors import LauncherError

from . import wishes
from .api import SLOW, Api, UnreachableError, last_words

PATIENCE = 30.0
"""Seconds for which a cluster that cannot take jobs yet, or whose answer was lost, is asked again."""
TAKEN = "already exists"
ROOM = 10
"""Seconds beyond a job's grace after which Ray kills what it has asked to end: by then the runner has done it."""


def describe(
    name: str,
    job_id: str,
    folder: str,
    argv: Sequence[str],
    needs: Mapping[str, float],
    grace: float,
    variables: Mapping[str, str],
) -> dict[str, Any]:
    """Return the submission of a job, whose runner gets `variables`.

    Its entrypoint is shell text, since Ray has no other; it is one quoted command line, that of the runner.
    """
    entrypoint = "exec " + shlex.join(argv)
    try:
        entrypoint.encode()
    except UnicodeEncodeError:
        raise LauncherError(
            f"Ray takes no path that is not UTF-8: {folder!r}.", hint="Choose another LAZYLLM_HOME or Python."
        ) from None
    readable = name.encode("utf-8", "replace").decode()
    return {
        "submission_id": job_id,
        "entrypoint": entrypoint,
        "runtime_env": {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(math.ceil(grace) + ROOM), **variables}},
        "metadata": {"job_name": readable, "lazyllm_folder": folder},
        **wishes.request(needs),
    }


def submit(api: Api, job: Mapping[str, Any]) -> None:
    """Submit a job. If an earlier try got through, that is as good.

    Raises:
        LauncherError: Ray refuses it, or cannot be reached.
    """
    end = time.monotonic() + PATIENCE
    while True:
        try:
            status, text = api.ask("POST", "/api/jobs/", job, limit=SLOW)
        except UnreachableError:
            if time.monotonic() > end:
                raise
        else:
            if status == 200 and _accepted(text, job["submission_id"]):
                return
            if TAKEN in text:
                _check_same(api, job)
                return
            if status != 500 or "agent" not in text.lower() or time.monotonic() > end:
                raise _refused(api, status, text)
        time.sleep(0.5)


def _accepted(text: str, job_id: str) -> bool:
    try:
        return bool(json.loads(text).get("submission_id") == job_id)
    except (ValueError, AttributeError):
        return False


def _check_same(api: Api, job: Mapping[str, Any]) -> None:
    """Make sure that the job under our id is ours: ids are drawn by lot, and the cluster may have many users."""
    job_id = job["submission_id"]
    there = api.get(f"/api/jobs/{job_id}")
    if not isinstance(there, dict) or there.get("entrypoint") != job["entrypoint"]:
        raise LauncherError(
            f"The cluster has another job {job_id!r} already.", hint="Start it again: it gets a new id."
        )


def _refused(api: Api, status: int, text: str) -> LauncherError:
    if status == 200 or (status == 404 and "<" in text):
        return LauncherError(
            f"What answers at {api.shown} is no Ray dashboard: it takes no jobs.",
            hint="The Jobs API comes with pip install 'ray[default]' on the head; its port is 8265 by default.",
        )
    return LauncherError(
        f"Ray at {api.shown} refused the job (status {status}): {last_words(text, status)}.",
        hint="Its words are Ray's own; `ray status` shows what the cluster has.",
    )


def stop(api: Api, job_id: str) -> None:
    """Have Ray ask all processes of a job to end; nothing if it does not know the job or it has ended.

    Raises:
        LauncherError: Ray does not do it, or cannot be reached.
    """
    status, text = api.ask("POST", f"/api/jobs/{job_id}/stop", limit=SLOW)
    if status not in (200, 404):
        raise LauncherError(
            f"Ray at {api.shown} does not stop job {job_id}: {last_words(text, status)}.",
            hint=f"Try: ray job stop {job_id}",
        )
