"""Conformance: what a job gets, what becomes of it, and what its caller hears."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ..errors import InputError, JobError
from ..jobs import manage
from ..jobs.command import Command, Step
from ..jobs.status import Status
from .base import LauncherTests
from .programs import ECHO, HOSTILE, python


class RunningTests(LauncherTests):
    """A job from its start to its end."""

    def test_a_job_passes_through_its_states_in_order(self) -> None:
        launcher = self.make(sync=False)
        job = launcher.makejob(python("import time; print('hello'); time.sleep(1)"), name="by name")
        assert (job.status, job.jobid, job.id) == (Status.TBSubmitted, None, None)
        assert (job.name, job.launcher) == ("by name", launcher)
        with pytest.raises(JobError, match="not been started"):
            job.get_jobip()
        job.start()
        seen = [job.status]
        while not seen[-1].ended:
            assert len(seen) < self.soon / 0.02, seen
            time.sleep(0.02)
            seen.append(job.status)
        order = [Status.TBSubmitted, Status.InQueue, Status.Running, Status.Done]
        places = [order.index(status) for status in seen]
        assert places == sorted(places) and Status.Running in seen, seen
        assert job.wait() is Status.Done
        assert job.output() == "hello\n" and job.details()["exit_code"] == 0
        assert job.jobid and job.ip == job.get_jobip()

    def test_what_would_be_submitted_is_told_and_nothing_starts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        command = Command((Step(python("open('ran', 'w')")),), secrets={"TOKEN": "hush"})
        job = self.make(sync=True).makejob(command)
        assert isinstance(job.submission(), str) and "hush" not in job.submission()
        monkeypatch.setenv("LAZYLLM_MODE", "display")
        job.launcher.launch(job)
        assert (job.record, job.status) == (None, Status.TBSubmitted)
        assert not manage.ps() and not Path("ran").exists()

    def test_the_value_is_the_commands_result(self, tmp_path: Path) -> None:
        made = str(tmp_path / "made $(x) ü")
        writes = Command((Step(python("import sys; open(sys.argv[1], 'w').close()", made)),), result=made)
        assert self.make().launch(writes) == made
        with pytest.raises(JobError, match="did not make"):
            self.make().launch(Command((Step(python("")),), result=str(tmp_path / "never made")))

    def test_steps_run_in_order_and_a_failed_one_fails_the_job(self) -> None:
        steps = [Step(python(f"print({word!r}, flush=True); {then}"), word) for word, then in
                 (("first", ""), ("second", "raise SystemExit(3)"), ("third", ""))]  # fmt: skip
        job = self.make().makejob(Command(tuple(steps)))
        with pytest.raises(JobError, match="second") as caught:
            self.make().launch(job)
        assert caught.value.exit_code == 3 and job.output() == "first\nsecond\n" and job.status is Status.Failed

    def test_functions_are_named(self) -> None:
        Path("own_module.py").write_text("def total(*numbers, times=1):\n    return {'sum': sum(numbers) * times}\n")
        assert self.make().launch("own_module:total", 1, 2.5, times=2) == {"sum": 7.0}
        assert self.make().launch("os.path:join", "a b", "$(x)/ü") == "a b/$(x)/ü"
        with pytest.raises(JobError, match="ModuleNotFoundError"):
            self.make().launch("no_such_module_here:f", 1)
        with pytest.raises(InputError, match="cannot be sent"):
            self.make().launch("os.path:join", object())

    # failure

    @pytest.mark.parametrize("code", [1, 3, 127])
    def test_exit_codes_and_last_lines(self, code: int) -> None:
        program = "import sys; [print('line', i) for i in range(1, 51)]; sys.exit(int(sys.argv[1]))"
        with pytest.raises(JobError) as caught:
            self.make().launch(python(program, str(code)))
        assert caught.value.exit_code == code
        assert caught.value.output.splitlines()[-1] == "line 50"

    def test_a_signal_is_named(self) -> None:
        with pytest.raises(JobError, match="SIGSEGV"):
            self.make().launch(python("import os; os.kill(os.getpid(), 11)"))

    def test_a_program_that_is_not_there_is_named(self) -> None:
        with pytest.raises(JobError, match="no-such-program-here"):
            self.make().launch(["no-such-program-here"])

    def test_an_unknown_keyword_is_refused(self) -> None:
        with pytest.raises((InputError, TypeError), match="synk"):
            self.make(synk=True)

    # what reaches it

    def test_arguments_arrive_byte_for_byte(self) -> None:
        job = self.make().makejob(python(ECHO, *HOSTILE))
        self.make().launch(job)
        assert job.log.read_bytes() == b"\0".join(os.fsencode(text) for text in HOSTILE)
        assert not list(Path().rglob("pwned"))

    def test_variables_files_and_folders_arrive_as_they_are(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for odd in ("with space", "quote ' and \"", "$(touch pwned);&", "new\nline", "é🤖"):
            folder = tmp_path / odd
            folder.mkdir()
            monkeypatch.setenv("LAZYLLM_HOME", str(folder / "home"))
            monkeypatch.chdir(folder)
            program = "import os, sys; sys.stdout.buffer.write(os.fsencode(os.environ['A'] + '|' + os.getcwd()))"
            job = self.make().makejob(Command((Step(python(program)),), env={"A": odd}))
            self.make().launch(job)
            assert job.log.read_bytes() == os.fsencode(f"{odd}|{folder}")

    def test_secrets_stay_secret(self) -> None:
        probe = (
            "import os; print(os.environ['TOKEN']); p = os.getppid(); print(open(f'/proc/{p}/cmdline').read())\n"
            "while p > 1: print(open(f'/proc/{p}/cmdline').read()); "
            "p = int(open(f'/proc/{p}/stat').read().rpartition(')')[2].split()[1])"
        )
        command = Command((Step(python(probe)),), secrets={"TOKEN": "s3cr3t-v4lue"})
        assert "s3cr3t" not in command.show() + repr(command)
        job = self.make().makejob(command)
        self.make().launch(job)
        assert job.output().count("s3cr3t-v4lue") == 1
        assert not [p for p in job.log.parent.rglob("*.json") if b"s3cr3t" in p.read_bytes()]
