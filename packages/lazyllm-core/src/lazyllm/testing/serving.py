"""Conformance: servers, their addresses and keys."""

from __future__ import annotations

import pytest

from ..client.transport import Transport
from ..errors import JobError
from ..jobs import runner
from ..jobs.command import Command, Step
from ..jobs.keys import is_private
from .base import LauncherTests
from .programs import python, server


class ServingTests(LauncherTests):
    """Servers, reached by their URLs from this machine."""

    def test_servers_started_at_once_answer_under_their_urls(self) -> None:
        jobs = [self.started(server(f"I am {name}")) for name in ("one", "two")]
        for job, name in zip(jobs, ("one", "two"), strict=True):
            job.wait_ready(self.soon * 2)
            assert job.return_value == job.url
            assert Transport(job.url).fetch("GET", "/") == f"I am {name}"
        assert jobs[0].url != jobs[1].url
        for job in jobs:
            job.stop()
        port = jobs[0].details()["address"]["ports"]["port"]
        assert self.until(lambda: runner.port_free("127.0.0.1", port))

    def test_a_server_that_others_reach_demands_a_key(self) -> None:
        job = self.started(server("known"))
        job.wait_ready(self.soon * 2)
        if is_private(job.launcher.host):
            assert job.key_file is None
            return
        assert job.key_file
        assert job.key_file.stat().st_mode & 0o777 == 0o600
        import urllib.error
        import urllib.request

        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(job.url)  # noqa: S310 (the URL is our own)
        assert Transport(job.url).fetch("GET", "/") == "known"

    def test_a_server_that_dies_early_is_an_error_at_once(self) -> None:
        serves = server("x")
        dies = Command(
            (Step(python("import sys; sys.exit('no weights here')")),), ports=serves.ports, service=serves.service
        )
        with pytest.raises(JobError, match="no weights here|exit code 1") as caught:
            self.started(dies).wait_ready(self.soon)
        assert "no weights here" in caught.value.output
