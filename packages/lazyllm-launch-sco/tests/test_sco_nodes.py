"""Jobs of several nodes, and torchrun, on the simulated SenseCore: its nodes are processes of this machine."""

import json
import os
import sys
import time
from pathlib import Path

import pytest

from lazyllm.errors import JobError
from lazyllm.jobs import runner
from lazyllm.jobs.command import Command, Ref, Step
from lazyllm.jobs.status import Status

pytestmark = pytest.mark.usefixtures("quick")
TELL = "import os, sys; print(*[os.environ.get(n) for n in ('RANK', 'WORLD_SIZE')], *map(repr, sys.argv[1:]))"
MEET = """
import os, socket, time
e = os.environ
place = (e['MASTER_ADDR'], int(e['MASTER_PORT']))
if e['RANK'] == '0':
    s = socket.create_server(place)
    print('met', sorted(s.accept()[0].recv(9).decode() for _ in range(int(e['WORLD_SIZE']) - 1)))
else:
    for _ in range(100):
        try: c = socket.create_connection(place); break
        except OSError: time.sleep(0.1)
    c.sendall(e['RANK'].encode())
    print('hello from', e['RANK'])
"""


def others(job, rank=1) -> str:
    return (Path(job.record.folder) / "nodes" / f"output-{rank}.log").read_text()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("generation", ["older", pytest.param("acp", marks=pytest.mark.faults)], indirect=True)
def test_every_node_runs_the_command(make):
    job = make(nnode=3).makejob([sys.executable, "-c", MEET])
    make(nnode=3).launch(job)
    assert job.output() == "met ['1', '2']\n"
    assert [others(job, rank) for rank in (1, 2)] == ["hello from 1\n", "hello from 2\n"]
    assert job.details()["exit_code"] == 0


def test_steps_stay_together_and_single_ones_run_once(make):
    odd = ["a b", "$(x)", "${RANK}", "new\nline", "🤖", "\udcff"]
    each = Step([sys.executable, "-c", TELL, *odd, Ref("file", "f")], "each")
    once = Step([sys.executable, "-c", TELL, "once"], "once", once=True)
    job = make(nnode=2).makejob(Command((once, each, once, each), files={"f": ""}))
    make(nnode=2).launch(job)
    words = " ".join(map(repr, [*odd, str(job.record.folder / "files" / "f")]))
    assert job.output().splitlines() == ["None None 'once'", f"0 2 {words}"] * 2
    assert others(job).splitlines() == [f"1 2 {words}"] * 2


def test_a_failure_on_another_node_fails_the_job(make):
    program = "import os, sys, time\nif os.environ['RANK'] == '1': print('no data here'), sys.exit(4)\ntime.sleep(300)"
    begun = time.monotonic()
    with pytest.raises(JobError) as caught:
        make(nnode=2).launch([sys.executable, "-c", program])
    assert time.monotonic() - begun < 60
    assert "rank 1" in caught.value.output and "no data here" in caught.value.output
    assert caught.value.exit_code == 4


@pytest.mark.faults
def test_the_first_node_waits_for_the_others(make):
    program = "import os, time; time.sleep(1.5 * int(os.environ['RANK'])); print('done')"
    job = make(nnode=2).makejob([sys.executable, "-c", program])
    make(nnode=2).launch(job)
    assert (job.output(), others(job)) == ("done\n", "done\n")


@pytest.mark.faults
def test_a_failure_on_the_first_node_ends_the_others(make, until):
    program = "import os, sys, time\nprint(os.getpid(), flush=True)\nif os.environ['RANK'] == '0':\n"
    program += "    time.sleep(0.7); os.kill(os.getpid(), 11)\ntime.sleep(300)"
    job = make(nnode=2).makejob([sys.executable, "-c", program])
    with pytest.raises(JobError, match="SIGSEGV"):
        make(nnode=2).launch(job)
    until(lambda: runner.token(int(others(job))) is None)


@pytest.mark.faults
def test_a_program_that_only_the_first_node_has(make):
    with pytest.raises(JobError, match="no-such-program"):
        make(nnode=2).launch(["no-such-program"])


@pytest.mark.faults
def test_stop_ends_all_nodes(make, until):
    job = make(nnode=2, sync=False).makejob(["sh", "-c", "echo $$; exec sleep 300"])
    job.start()
    until(lambda: (job.record.folder / "nodes" / "output-1.log").exists() and others(job) and job.output())
    pids = [int(others(job)), int(job.output())]
    job.stop()
    assert job.status is Status.Cancelled
    until(lambda: [pid for pid in pids if runner.token(pid)] == [])


WHERE = """
import os, time
def rank():
    time.sleep(0 if os.environ["RANK"] == "0" else 0.5)  # the last word is not the first node's
    return os.environ["RANK"], os.environ["WORLD_SIZE"]
"""


@pytest.mark.parametrize("generation", ["older", pytest.param("acp", marks=pytest.mark.faults)], indirect=True)
def test_functions_run_on_every_node(make, folder, monkeypatch):
    monkeypatch.setenv("RANK", "1")  # of the process that submits
    (folder / "where.py").write_text(WHERE)
    assert make(nnode=2).launch("where:rank") == ["0", "2"]


def test_a_function_on_one_node_returns_whatever_its_submitters_rank(make, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LAZYLLM_JOB_RANKS", "1")
    assert make().launch("os:getpid") > 1


@pytest.fixture
def torch(folder):
    """A torch.distributed.run that only tells what it was given."""
    package = folder / "torch" / "distributed"
    package.mkdir(parents=True)
    for name in ("torch/__init__.py", "torch/distributed/__init__.py"):
        (folder / name).touch()
    (package / "run.py").write_text("import json, sys; print(json.dumps(sys.argv[1:]))\n")


@pytest.mark.usefixtures("torch")
def test_torchrun_on_one_node(make):
    job = make(nproc=4, torchrun=True).makejob([sys.executable, "train.py", "a b", "${RANK}"])
    make().launch(job)
    told = json.loads(job.output())
    port = told[told.index("--master_port") + 1]
    assert told == [
        "--nproc_per_node", "4", "--nnodes", "1", "--node_rank", "0", "--master_port", port,
        "train.py", "a b", "${RANK}",
    ]  # fmt: skip
    assert 0 < int(port) < 65536


@pytest.mark.usefixtures("torch")
def test_torchrun_on_several_nodes(make):
    command = Command((Step([sys.executable, "train.py", "${RANK}"]), Step(["echo", "merged"], once=True)))
    job = make(nnode=2, nproc=8, torchrun=True).makejob(command)
    make().launch(job)
    first, merged = job.output().splitlines()
    told = [json.loads(first), json.loads(others(job))]
    port = told[0][told[0].index("--master_port") + 1]
    assert merged == "merged" and port.isdecimal()
    for rank, words in enumerate(told):
        assert words == [
            "--nproc_per_node", "8", "--nnodes", "2", "--node_rank", str(rank), "--master_addr", "127.0.0.1",
            "--master_port", port, "train.py", "${RANK}",
        ]  # fmt: skip


@pytest.mark.engine
def test_torchrun_itself(make, folder):
    (folder / "train.py").write_text(
        "import torch, torch.distributed as d\nd.init_process_group('gloo')\nx = torch.ones(1) * d.get_rank()\n"
        "d.all_reduce(x)\nprint('sum', int(x), d.get_world_size()) if d.get_rank() == 0 else None\n"
        "d.destroy_process_group()\n"  # or gloo's threads may end the program by SIGABRT
    )
    for nnode in (1, 2):
        job = make(nnode=nnode, nproc=2, torchrun=True, timeout=120).makejob(
            Command((Step([sys.executable, "train.py"]),), env={"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"})
        )
        make().launch(job)
        size = 2 * nnode
        assert f"sum {size * (size - 1) // 2} {size}" in job.output()
    assert os.environ.get("RANK") is None


@pytest.mark.engine
@pytest.mark.parametrize("nnode", [1, 2])
def test_of_torchruns_processes_the_first_ones_value_counts(make, folder, nnode):
    (folder / "where.py").write_text(WHERE)
    assert make(nnode=nnode, nproc=2, torchrun=True, timeout=120).launch("where:rank") == ["0", str(2 * nnode)]
