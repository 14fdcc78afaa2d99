"""Conformance: output, waiting and stopping, by the starter and by other processes."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ..configs import config
from ..errors import JobError, JobTimeoutError
from ..jobs import manage, runner
from ..jobs.job import Job
from ..jobs.record import Record
from ..jobs.status import Status
from .base import LauncherTests
from .programs import LIVES_ON, TICKS, python


class StoppingTests(LauncherTests):
    """Output, waiting, stopping."""

    def test_output_comes_as_it_is_written(self) -> None:
        delays: list[float] = []
        job = self.make().makejob(python(TICKS))
        job.output_hooks.append(lambda line: delays.append(time.time() - float(line)))
        self.make().launch(job)
        assert len(delays) == 3 and max(delays) < self.late + 0.3, delays

    def test_much_output_arrives_whole(self) -> None:
        job = self.make().makejob(python("for i in range(100_000): print(i, 'x' * 20)"))
        job.quiet = True
        self.make().launch(job)
        assert job.output() == "".join(f"{i} {'x' * 20}\n" for i in range(100_000))

    def test_sync_waits_and_returns_at_once_after_the_end(self) -> None:
        delays = []
        for _ in range(3):
            job = self.make(sync=True).makejob(python("import time; time.sleep(0.2); print(time.time())"))
            self.make(sync=True).launch(job)
            delays.append(time.time() - float(job.output()))
            assert job.status is Status.Done
        assert sorted(delays)[1] < self.late, delays

    def test_async_returns_before_the_end(self) -> None:
        launcher = self.make(sync=False)
        job = launcher.makejob(python("import time; time.sleep(300)"))
        launcher.launch(job)
        assert not job.status.ended
        with pytest.raises(JobTimeoutError):
            job.wait(0.1)
        job.wait_ready(self.soon)
        job.stop()
        assert job.status is Status.Cancelled and job.wait() is Status.Cancelled
        job.stop()

    def test_stop_ends_all_that_was_started(self) -> None:
        launcher = self.make(sync=False)
        launcher.grace = 0.5
        job = launcher.makejob([sys.executable, "-c", LIVES_ON])
        job.start()
        pids = [int(pid) for pid in self.until(lambda: job.output().endswith("\n") and job.output().split())]
        assert len(pids) == 2 and all(runner.token(pid) for pid in pids)
        job.stop()
        assert job.status is Status.Cancelled and [pid for pid in pids if runner.token(pid)] == []

    def test_the_launchers_own_timeout(self) -> None:
        if "timeout" not in inspect.signature(type(self.make())).parameters:
            pytest.skip("this launcher takes no timeout")
        begun = time.monotonic()
        with pytest.raises(JobError, match=r"did not end within its timeout of 1\.5 s"):
            self.make(timeout=1.5).launch(python("import time; time.sleep(300)"))
        assert time.monotonic() - begun < self.soon

    def test_many_at_once(self) -> None:
        launcher = self.make(sync=False)
        jobs = [launcher.makejob(python("import sys; print(sys.argv[1])", str(i))) for i in range(self.many)]
        for job in jobs:
            job.start()
        for number, job in enumerate(jobs):
            assert job.wait(self.soon * 3) is Status.Done and job.output() == f"{number}\n"
        assert len({job.jobid for job in jobs}) == self.many

    def test_display_mode_starts_nothing(self) -> None:
        with config.override(mode="display"):
            job = self.make(sync=False).makejob(python("print(1)"))
            job.start()
        assert job.id is None and manage.ps() == []

    def test_another_process_lists_reads_and_stops_it(self) -> None:
        job = self.started(python("print('from the job', flush=True); import time; time.sleep(300)"), detach=True)
        job.wait_ready(self.soon)
        self.until(lambda: job.output() == "from the job\n")
        assert [found["id"] for found in json.loads(_lazyllm("ps", "--json"))] == [job.id]
        assert _lazyllm("logs", str(job.id)) == "from the job\n"
        _lazyllm("stop", str(job.id))
        with pytest.raises(JobError, match="stopped"):
            job.wait(self.soon)
        assert job.status is Status.Cancelled

    def test_a_job_is_adopted_after_its_starter_was_killed(self, tmp_path: Path) -> None:
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                wait = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.05)\nprint('went on')"
                os.write(writer, str(self.started(python(wait), detach=True).id).encode())
            finally:
                os.kill(os.getpid(), signal.SIGKILL)
        os.close(writer)
        with os.fdopen(reader) as told:
            key = told.read()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL and key
        job = Job.adopt(manage.find(key))
        job.wait_ready(self.soon)
        assert job.status is Status.Running
        (tmp_path / "work" / "go").touch()
        assert job.wait(self.soon) is Status.Done and job.output() == "went on\n"
        assert manage.info(Record(job.log.parent)).exit_code == 0


def _lazyllm(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "lazyllm", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
