"""launchers.psij with simulated PBS and LSF: `sim_scheduler.py` says what of them is simulated, and how."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time

import pytest

from lazyllm.errors import JobError, LauncherError
from lazyllm.jobs import manage
from lazyllm.jobs.job import Job
from lazyllm.jobs.status import Status
from lazyllm.testing import LauncherConformance
from lazyllm.testing.programs import python
from lazyllm_launch_psij import submit as submission
from lazyllm_launch_psij.commands import place_here
from lazyllm_launch_psij.launcher import PsijLauncher
from lazyllm_launch_psij.poller import poller
from lazyllm_launch_psij.schedulers import SCHEDULERS

pytestmark = [pytest.mark.simulated, pytest.mark.usefixtures("simulated")]


class TestPsijPbs(LauncherConformance):
    def make(self, **kw):
        return PsijLauncher("pbs", "batch", **kw)


class TestPsijLsf(LauncherConformance):
    def make(self, **kw):
        return PsijLauncher("lsf", "normal", ncpus=2, ngpus=1, account="mine", **kw)


@pytest.mark.parametrize("name", ["pbs", "lsf", "pbs_classic"])
def test_the_submission_that_is_shown_is_the_one_that_is_made(name, monkeypatch):
    given = []
    real = submission.run
    monkeypatch.setattr(submission, "run", lambda *a, **kw: given.append((a[1], kw["stdin"])) or real(*a, **kw))
    job = PsijLauncher(name, "normal" if name == "lsf" else "batch", sync=False).makejob(["echo", "it's"])
    line, _, text = job.submission().partition("\n")
    job.start()
    ((argv, script),) = given
    assert f"{line}\n{re.sub(r'JOB', job.id, text)}" == f"{shlex.join(argv)} <<'EOF'\n{script}EOF"
    job.wait()


@pytest.mark.parametrize("name", ["pbs", "lsf"])
class TestFaults:
    def test_a_scheduler_that_is_down_is_no_failed_job(self, name, simulated, monkeypatch):
        job = PsijLauncher(name, sync=False).makejob(python("import time; time.sleep(4)"))
        (simulated / "hold").touch()
        job.start()
        (simulated / "down").touch()
        time.sleep(3.5)
        assert job.status is Status.InQueue
        with pytest.raises(LauncherError, match="cannot connect to server"):
            job.stop()
        (simulated / "hold").unlink()
        assert job.wait_ready(20) is Status.Running
        job.stop()  # its runner is on this machine, and is told directly
        assert job.status is Status.Cancelled

    def test_submission_fails_in_the_schedulers_words(self, name, simulated):
        with pytest.raises(LauncherError, match=r"(?i)no such queue|unknown queue") as caught:
            PsijLauncher(name, "nosuch").launch(["true"])
        assert SCHEDULERS[name].queues in str(caught.value)
        (simulated / "down").touch()
        with pytest.raises(LauncherError, match="refused the job: cannot connect to server"):
            PsijLauncher(name).launch(["true"])
        assert [job.state for job in manage.ps()] == [Status.Failed] * 2

    def test_stopped_in_the_queue(self, name, simulated):
        (simulated / "hold").touch()
        job = PsijLauncher(name, sync=False).makejob(["true"])
        job.start()
        assert job.status is Status.InQueue
        job.stop()
        assert job.status is Status.Cancelled and job.details()["reason"] == "stopped"

    def test_cancelled_outside_while_it_waits(self, name, simulated):
        (simulated / "hold").touch()
        job = PsijLauncher(name, sync=False).makejob(["true"])
        job.start()
        program = {"pbs": "qdel", "lsf": "bkill"}[name]
        subprocess.run([program, str(job.jobid)], check=True, capture_output=True)
        with pytest.raises(JobError, match=f"cancelled in {name.upper()}"):
            job.wait(20)
        assert job.status is Status.Cancelled

    def test_a_scheduler_that_hangs_does_not_delay_a_stop_on_this_machine(self, name, monkeypatch, tmp_path):
        job = PsijLauncher(name, sync=False).makejob(python("import time; time.sleep(300)"))
        job.start()
        job.wait_ready(20)
        for program in SCHEDULERS[name].programs:
            (tmp_path / program).write_text("#!/bin/sh\nexec sleep 60\n")
            (tmp_path / program).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        begun = time.monotonic()
        Job.adopt(manage.find(job.id)).stop()
        assert time.monotonic() - begun < 5 and job.status is Status.Cancelled

    def test_a_node_without_our_python(self, name):
        with pytest.raises(JobError, match=r"did not start on the node: .*/no/such/python"):
            PsijLauncher(name, python="/no/such/python").launch(["true"])

    def test_a_runner_that_is_killed(self, name):
        job = PsijLauncher(name, sync=False).makejob(python("import time; time.sleep(300)"))
        job.start()
        job.wait_ready(20)
        os.kill(job.details()["runner_pid"], signal.SIGKILL)
        with pytest.raises(JobError, match="runner died"):
            job.wait(20)

    def test_one_query_answers_for_all(self, name):
        launcher = PsijLauncher(name, sync=False)
        jobs = [launcher.makejob(python("import time; time.sleep(3)")) for _ in range(6)]
        for job in jobs:
            job.start()
        asked = poller(name, place_here(name))
        before, begun = asked.queries, time.monotonic()
        for job in jobs:
            job.wait(30)
        assert asked.queries - before <= 3 + (time.monotonic() - begun) / 0.9

    def test_a_listing_by_another_process_is_one_query(self, name, simulated):
        (simulated / "hold").touch()
        jobs = [PsijLauncher(name, sync=False).makejob(["true"]) for _ in range(6)]
        for job in jobs:
            job.start()
        program = (
            "from lazyllm.jobs import manage; from lazyllm_launch_psij.poller import poller\n"
            "from lazyllm_launch_psij.commands import place_here\n"
            f"print(*(job.state for job in manage.ps()), poller({name!r}, place_here({name!r})).queries)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
        assert done.stdout.split() == ["InQueue"] * 6 + ["1"], done.stderr
        for job in jobs:
            job.stop()

    def test_what_was_closed_while_it_was_down_is_cancelled_later(self, name, simulated):
        (simulated / "hold").touch()
        job = PsijLauncher(name, sync=False).makejob(["true"])
        job.start()
        (simulated / "down").touch()
        manage.stop(job.id, force=True)
        assert job.status.ended and manage.reap() == [] and job.record.status()["unconfirmed"]
        (simulated / "down").unlink()
        time.sleep(1)
        assert [found.reason for found in manage.reap()] == ["was still held by its scheduler"]
        assert "unconfirmed" not in job.record.status()

    def test_listing_where_another_cluster_answers_ends_nothing(self, name, simulated, tmp_path):
        """Twice, so long after each other that the first time counts."""
        (simulated / "hold").touch()
        job = PsijLauncher(name, sync=False).makejob(["true"])
        job.start()
        for program in SCHEDULERS[name].programs:
            words = f"qstat: Unknown Job Id {job.jobid}; Job <{job.jobid}> is not found"
            (tmp_path / program).write_text(f"#!/bin/sh\necho '{words}' >&2; exit 153\n")
            (tmp_path / program).chmod(0o755)
        code = "import time, lazyllm_launch_psij.judge as j; j.LOST = j.UNSURE = 0.5\nfrom lazyllm.jobs import manage\n"
        code += "for _ in 'ab': print([str(i.state) for i in manage.ps()]); time.sleep(1)"
        environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60)
        assert done.stdout.split() == ["['InQueue']"] * 2, done.stderr
        assert not job.record.stopping
        job.stop()

    def test_a_program_that_ends_leaves_its_jobs_alone(self, name, tmp_path):
        program = (
            "import sys; from lazyllm_launch_psij.launcher import PsijLauncher as P\n"
            f"j = P({name!r}, sync=False).makejob([sys.executable, '-c', 'import time; time.sleep(5); print(7)'])\n"
            "j.quiet = True; j.start(); print(j.id)"
        )
        begun = time.monotonic()
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and time.monotonic() - begun < 20, done.stderr
        job = Job.adopt(manage.find(done.stdout.strip()))
        assert not job.status.ended and job.wait(30) is Status.Done and job.output() == "7\n"


def test_a_pbs_that_forgets_jobs_as_they_end(simulated):
    """Without job history, qstat fails for all jobs as soon as one of them has ended."""
    (simulated / "no-history").touch()
    launcher = PsijLauncher("pbs_classic", ncpus=2, ngpus=1, sync=False)
    jobs = [launcher.makejob(python(f"import time; time.sleep({n}); raise SystemExit({n})")) for n in (0, 1, 4)]
    for job in jobs:
        job.start()
    assert jobs[0].wait(20) is Status.Done
    for job, code in ((jobs[1], 1), (jobs[2], 4)):
        with pytest.raises(JobError, match="failed with exit code") as caught:
            job.wait(30)
        assert caught.value.exit_code == code


def test_a_submission_without_an_answer_starts_nothing(simulated, monkeypatch):
    monkeypatch.setattr(submission, "LIMIT", 1.0)
    for way in ("slow", "hold"):
        (simulated / way).touch()
    with pytest.raises(LauncherError, match="gave no answer within 1 s"):
        PsijLauncher("pbs").launch(["touch", str(simulated / "ran")])
    (simulated / "hold").unlink()
    begun = time.monotonic()
    while not (simulated / "1" / "job").exists() or '"ended"' not in (simulated / "1" / "job").read_text():
        assert time.monotonic() - begun < 20
        time.sleep(0.1)
    assert not (simulated / "ran").exists()


def test_stopped_while_it_is_being_submitted(simulated):
    (simulated / "slow").touch()
    job = PsijLauncher("pbs", sync=False).makejob(python("import time; time.sleep(300)"))
    stopper = threading.Thread(target=lambda: (wait_for_runner(), manage.stop(job.id, force=True)))
    stopper.start()
    with pytest.raises(LauncherError, match="was stopped while it was being submitted"):
        job.start()
    stopper.join()
    assert manage.ps()[0].state is Status.Cancelled


def wait_for_runner():
    end = time.monotonic() + 20
    while time.monotonic() < end and not any(job.state is Status.Running for job in manage.ps()):
        time.sleep(0.05)


def test_what_pbs_can_never_run():
    with pytest.raises(JobError, match=r"PBS would never start it: Can Never Run: .* ngpus"):
        PsijLauncher("pbs", ngpus=9).launch(["true"])


def test_the_record_tells_another_process_which_scheduler_it_was(simulated, monkeypatch):
    monkeypatch.setenv("LAZYLLM_PSIJ_EXECUTOR", "pbs")
    job = PsijLauncher("lsf", sync=False).makejob(python("import time; time.sleep(300)"))
    job.start()
    job.wait_ready(20)
    other = Job.adopt(manage.find(job.id))
    assert other.status is Status.Running
    other.stop()
    assert other.status is Status.Cancelled
    (job.log.parent / "psij.json").unlink()
    with pytest.raises(LauncherError, match="does not tell which scheduler"):
        PsijLauncher().query(other)
