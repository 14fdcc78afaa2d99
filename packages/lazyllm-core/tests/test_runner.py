"""The runner by itself: a folder with job.json in, processes and status.json out."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lazyllm.jobs import runner

WAIT = 20.0


def write_job(folder: Path, *steps: list, **fields) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    described = {"version": 1, "id": f"t{os.urandom(4).hex()}", "owner": None, "host": "127.0.0.1", "grace": 1.0}
    described["steps"] = [{"name": "", "argv": argv} for argv in steps]
    (folder / "job.json").write_text(json.dumps({**described, **fields}))
    return folder


def start(folder: Path, **options) -> subprocess.Popen:
    argv = [sys.executable, "-I", "-S", runner.__file__, os.fspath(folder)]
    return subprocess.Popen(argv, **{"stdin": subprocess.DEVNULL, **options})


def run(folder: Path, *steps: list, **fields) -> dict:
    write_job(folder, *steps, **fields)
    process = start(folder)
    process.wait(WAIT)
    return {**status(folder), "code": process.returncode}


def status(folder: Path) -> dict:
    try:
        return json.loads((folder / "status.json").read_text())
    except OSError:
        return {}


def log(folder: Path) -> str:
    path = folder / "output.log"
    return path.read_text() if path.exists() else ""


def until(condition, seconds: float = WAIT):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
    return value


def gone(pid: int) -> bool:
    return runner.token(pid) is None


def python(text: str) -> list:
    return [sys.executable, "-I", "-S", "-c", text]


def test_done(tmp_path):
    found = run(tmp_path, ["echo", "one"], ["sh", "-c", "echo two >&2"])
    assert (found["state"], found["phase"], found["exit_code"], found["code"]) == ("Done", "ended", 0, 0)
    assert (tmp_path / "output.log").read_text() == "one\ntwo\n"
    assert found["started"] <= found["ended"]
    assert (tmp_path / "status.json").stat().st_mode & 0o777 == 0o600


def test_a_failed_step_fails_the_job_and_ends_it(tmp_path):
    found = run(tmp_path, ["sh", "-c", "exit 3"], ["touch", os.fspath(tmp_path / "never")])
    assert (found["state"], found["exit_code"], found["code"]) == ("Failed", 3, 3)
    assert found["reason"] == "step 'sh' failed with exit code 3"
    assert not (tmp_path / "never").exists()


def test_a_signal_is_named(tmp_path):
    found = run(tmp_path, ["sh", "-c", "kill -SEGV $$"])
    assert (found["state"], found["signal"], found["exit_code"]) == ("Failed", "SIGSEGV", 139)


@pytest.mark.parametrize("program, words", [("no-such-program", "No such file"), ("/etc/passwd", "Permission denied")])
def test_a_program_that_cannot_be_started(tmp_path, program, words):
    found = run(tmp_path, [program])
    assert found["state"] == "Failed" and words in found["reason"] and program in found["reason"] and found["hint"]


def test_a_working_folder_that_is_missing(tmp_path):
    found = run(tmp_path, ["true"], cwd="/no/such/folder")
    assert "working folder /no/such/folder cannot be entered" in found["reason"]


def test_arguments_arrive_byte_for_byte(tmp_path):
    hostile = [
        "",
        " ",
        "a b",
        "'",
        '"',
        "$(id)",
        "`id`",
        ";",
        "&&",
        "a\nb",
        "\t",
        "*",
        "😀",
        "\udcff\udc80x",
        "--",
        "\\",
        "{x}",
    ]
    show = "import os, sys; os.write(1, b'\\0'.join(map(os.fsencode, sys.argv[1:])))"
    run(tmp_path, [*python(show), *hostile])
    expected = b"\0".join(text.encode("utf-8", "surrogateescape") for text in hostile)
    assert (tmp_path / "output.log").read_bytes() == expected


def test_folders_may_be_called_anything(tmp_path):
    folder = tmp_path / "a b'c\"d\ne$(f)é😀"
    work = tmp_path / "work \n'\"é"
    work.mkdir()
    found = run(folder, ["pwd"], ["printenv", "LAZYLLM_JOB_DIR"], cwd=os.fspath(work))
    assert found["state"] == "Done"
    assert (folder / "output.log").read_text() == f"{work}\n{folder}\n"


def test_environment_secrets_and_refs(tmp_path):
    write_job(tmp_path)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "x").write_text("hello")
    (tmp_path / "secrets.json").write_text(json.dumps({"TOKEN": "t0p"}))
    show = ["sh", "-c", 'echo "$A $TOKEN $1 $2"; cat "$3"; cat', "sh", {"ref": "port", "name": "p"}, {"ref": "host"}]
    found = run(
        tmp_path,
        [*show, {"ref": "file", "name": "x"}],
        env={"A": "ä"},
        secrets=["TOKEN"],
        ports={"p": None},
        id="myjob",
    )
    port = found["address"]["ports"]["p"]
    assert (tmp_path / "output.log").read_text() == f"ä t0p {port} 127.0.0.1\nhello"
    assert not (tmp_path / "secrets.json").exists()
    assert "t0p" not in (tmp_path / "status.json").read_text()


def test_signals_and_streams_are_as_in_a_shell(tmp_path):
    look = "import signal; print(signal.getsignal(signal.SIGPIPE).name, signal.pthread_sigmask(0, []))"
    run(tmp_path, ["bash", "-c", "trap -p; cat /proc/self/status | grep SigIgn"], python(look))
    text = (tmp_path / "output.log").read_text()
    assert "SigIgn:\t0000000000000000" in text and "set()" in text


def test_ports_are_reserved_until_the_end(tmp_path):
    folders = [write_job(tmp_path / str(n), ["sleep", "60"], ports={"a": None, "b": None}) for n in range(4)]
    processes = [start(folder) for folder in folders]
    try:
        found = [until(lambda f=f: (status(f).get("address") or {}).get("ports")) for f in folders]
        ports = [port for each in found for port in each.values()]
        assert len(set(ports)) == 8 and all(20000 <= port < 32768 for port in ports)
        told = json.loads((folders[0] / "job.json").read_text())
        refused = run(tmp_path / "x", ["true"], ports={"a": ports[0]})
        assert f"port {ports[0]} is taken on 127.0.0.1 (by job {told['id']})" in refused["reason"]
        assert refused["hint"].startswith(f"lazyllm stop {told['id']} ")
    finally:
        for process in processes:
            process.terminate()
            process.wait(WAIT)
    assert run(tmp_path / "y", ["true"], ports={"a": ports[0]})["state"] == "Done"


def test_a_taken_port_names_its_holder(tmp_path):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        found = run(tmp_path, ["true"], ports={"a": port})
    assert (
        found["state"] == "Failed"
        and f"port {port} is taken" in found["reason"]
        and str(os.getpid()) in found["reason"]
    )


@pytest.mark.parametrize("port", [None, 29123])
@pytest.mark.parametrize("host", ["192.0.2.77", "a b", "a..b"])
def test_an_address_of_another_machine(tmp_path, host, port):
    found = run(tmp_path, ["true"], host=host, ports={"port": port})
    assert (found["state"], found["reason"]) == ("Failed", f"the address {host} is none of this machine's")


def test_a_runner_is_not_the_holder_of_its_own_port():
    port = 19998
    lock = runner.lock_port(port)
    assert lock is not None and runner.port_holder(port) is None
    lock.close()


def test_locks_in_files_where_there_are_no_abstract_sockets():
    first = runner.lock_port(19999, abstract=False)
    assert first and runner.lock_port(19999, abstract=False) is None
    first.close()
    Path("/tmp/lazyllm-port-19999").unlink()


SERVER = """
import http.server, sys, time
time.sleep(float(sys.argv[2]))
class H(http.server.BaseHTTPRequestHandler):
    n = 0
    def do_GET(self):
        H.n += 1
        self.send_response(503 if H.n < 3 else 200); self.end_headers()
http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), H).serve_forever()
"""
SERVICE = {"port": "port", "path": "/v1", "health": "/health", "timeout": 15}


def serve(delay: str = "0") -> list:
    return [sys.executable, "-c", SERVER, {"ref": "port", "name": "port"}, delay]


def test_ready_after_503(tmp_path):
    process = start(write_job(tmp_path, serve(), ports={"port": None}, service=SERVICE))
    found = until(lambda: status(tmp_path).get("ready") and status(tmp_path))
    assert found["phase"] == "ready" and found["state"] == "Running"
    process.terminate()
    process.wait(WAIT)
    assert (status(tmp_path)["state"], status(tmp_path)["reason"], status(tmp_path)["ready"]) == (
        "Cancelled", "stopped", False,
    )  # fmt: skip


LARGE = """
import http.server, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"x" * 50_000); self.wfile.flush()
        try: print("after that:", self.connection.recv(1), flush=True)
        except OSError as error: print(type(error).__name__, flush=True)
http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), H).serve_forever()
"""


def test_the_probe_reads_the_whole_answer(tmp_path):
    argv = [sys.executable, "-c", LARGE, {"ref": "port", "name": "port"}]
    process = start(write_job(tmp_path, argv, ports={"port": None}, service=SERVICE))
    until(lambda: "after that" in log(tmp_path) or "Error" in log(tmp_path))
    process.terminate()
    process.wait(WAIT)
    assert "after that: b''" in log(tmp_path) and "Error" not in log(tmp_path)


def test_a_result_that_was_not_made(tmp_path):
    found = run(tmp_path / "1", ["true"], result=os.fspath(tmp_path / "merged"))
    assert (found["state"], found["code"]) == ("Failed", 1)
    assert found["reason"] == f"step 'true' ended well but did not make {tmp_path / 'merged'}"
    assert run(tmp_path / "2", ["true"], result=os.fspath(tmp_path))["state"] == "Done"
    assert run(tmp_path / "3", ["true"], result="merged")["state"] == "Done"


def test_a_function_that_left_no_result(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "result.json").write_text("[]")  # of a run before the job was put back into the queue
    found = run(tmp_path / "1", ["true"], returns=True)
    assert (found["state"], found["code"]) == ("Failed", 1)
    assert found["reason"] == "step 'true' ended well but returned nothing" and "sys.exit()" in found["hint"]
    leave = ["sh", "-c", "echo 3 > $LAZYLLM_JOB_DIR/result.json"]
    assert run(tmp_path / "2", leave, returns=True)["state"] == "Done"
    assert (tmp_path / "2" / "result.json").read_text() == "3\n"


def test_a_network_drive_that_falters(tmp_path):
    """A far runner lists its folder once a second; one failure says nothing of the job."""
    write_job(tmp_path, ["sh", "-c", "sleep 2; echo fine"])
    failing = f"""
import os, runpy, sys
listed, real = [], os.listdir
def listdir(path="."):
    if path == sys.argv[1]:
        listed.append(path)
        if len(listed) == 2:
            raise OSError(116, "Stale file handle")
    return real(path)
os.listdir = listdir
os._exit, end = (lambda code: (print(len(listed)), sys.stdout.flush(), end(code))), os._exit
runpy.run_path({runner.__file__!r}, run_name="__main__")
"""
    argv = [*python(failing), os.fspath(tmp_path)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WAIT)
    assert (status(tmp_path)["state"], done.returncode, log(tmp_path)) == ("Done", 0, "fine\n")
    assert int(done.stdout) > 2


def test_what_was_ended_before_it_began_never_runs(tmp_path):
    (tmp_path / "status.json").write_text('{"state": "Failed", "reason": "given up"}')
    assert run(tmp_path, ["touch", os.fspath(tmp_path / "never")])["reason"] == "given up"
    assert not (tmp_path / "never").exists()


def test_a_runner_that_no_signal_reaches_is_told_by_a_note(tmp_path):
    tell = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(print('bye'))); "
    process = start(write_job(tmp_path, python(tell + "print('up', flush=True); time.sleep(99)")))
    until(lambda: "up" in log(tmp_path))
    (tmp_path / "stopping").touch()
    process.wait(WAIT)
    assert (status(tmp_path)["state"], status(tmp_path)["reason"], log(tmp_path)) == (
        "Cancelled",
        "stopped",
        "up\nbye\n",
    )


def test_a_schedulers_runner_gives_signs_of_life_and_says_who_ended_it(tmp_path):
    own = f"""
import runpy, sys
Runner = runpy.run_path({runner.__file__!r})["Runner"]
Runner.unasked, Runner.beat = "stopped by the queue", 0.01
sys.exit(Runner(sys.argv[1]).run())
"""
    argv = [*python(own), os.fspath(write_job(tmp_path, python("import time; time.sleep(99)")))]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
    alive = tmp_path / "alive"
    until(lambda: status(tmp_path).get("pid") and alive.exists())
    begun = alive.stat().st_mtime_ns
    until(lambda: alive.stat().st_mtime_ns > begun)
    process.terminate()
    process.wait(WAIT)
    assert (status(tmp_path)["state"], status(tmp_path)["reason"]) == ("Cancelled", "stopped by the queue")


def test_what_was_stopped_in_a_queue_never_runs(tmp_path):
    write_job(tmp_path, ["touch", os.fspath(tmp_path / "never")])
    (tmp_path / "stopping").touch()
    start(tmp_path).wait(WAIT)
    assert (status(tmp_path)["state"], status(tmp_path)["reason"]) == ("Cancelled", "stopped")
    assert not (tmp_path / "never").exists()


def test_a_timeout(tmp_path):
    told = run(tmp_path, python("import time; time.sleep(300)"), timeout=0.5)
    assert (told["state"], told["reason"]) == ("Failed", "did not end within its timeout of 0.5 s")
    assert told["ended"] - told["started"] < 10


def test_the_nodes_own_address(tmp_path, monkeypatch):
    assert run(tmp_path, ["true"], host=None, node=os.uname().nodename)["address"]["host"] == "127.0.0.1"
    found = {"n1": ["127.0.1.1"], "127.0.0.4": ["127.0.0.4"], "login": ["10.9.9.9"]}
    monkeypatch.setattr(runner, "resolve", lambda name: found.get(name, []))
    monkeypatch.setattr(runner, "toward", lambda ip: {"10.9.9.9": "127.0.0.2"}.get(ip, ""))
    assert runner.node_address("login", "n1") == "127.0.0.2"
    assert runner.node_address("login", "127.0.0.4") == "127.0.0.4"  # as it was named
    assert runner.node_address("gone", "n1") == "0.0.0.0"
    found["n1"] = ["203.0.113.77", "127.0.0.3"]
    assert runner.node_address("gone", "n1") == "0.0.0.0"  # the one cannot be bound here, the other not reached


def test_not_ready_in_time(tmp_path):
    found = run(tmp_path, serve("60"), ports={"port": None}, service={**SERVICE, "timeout": 0.3})
    assert found["state"] == "Failed" and found["reason"] == "not ready within 0.3 s (Connection refused)"
    assert gone(found["pid"])


def test_a_server_that_dies_is_noticed_at_once(tmp_path):
    found = run(tmp_path, ["sh", "-c", "sleep 0.2; exit 7"], ports={"port": None}, service=SERVICE)
    assert found["reason"] == "step 'sh' failed with exit code 7" and found["ended"] - found["started"] < 3


def test_all_that_was_started_is_ended(tmp_path):
    """A background child, one in a session of its own, one that ignores TERM, one that is stopped."""
    script = """
    sleep 300 & echo $!
    setsid bash -c 'echo $$; exec sleep 300' &
    setsid bash -c 'trap "" TERM; echo $$; while :; do sleep 1; done' &
    sleep 300 & echo $!; kill -STOP $!
    env -i setsid sleep 300 & echo $!
    until [ $(grep -c '^[0-9]' "$LAZYLLM_JOB_DIR/output.log") = 5 ]; do sleep 0.05; done
    """
    found = run(tmp_path, ["bash", "-c", script], grace=0.5)
    pids = [int(word) for word in log(tmp_path).splitlines() if word.isdigit()]
    assert found["state"] == "Done" and len(pids) == 5 and all(map(gone, pids))


def test_term_then_kill(tmp_path):
    write_job(tmp_path, ["bash", "-c", "trap 'echo heard' TERM; echo up; while :; do sleep 0.1; done"], grace=0.5)
    process = start(tmp_path)
    until(lambda: "up" in log(tmp_path))
    begun = time.monotonic()
    process.terminate()
    process.wait(WAIT)
    assert 0.4 < time.monotonic() - begun < 3
    assert "heard" in (tmp_path / "output.log").read_text()
    assert status(tmp_path)["state"] == "Cancelled" and gone(status(tmp_path)["pid"])


def test_another_signal_kills_now_and_the_same_one_does_not(tmp_path):
    write_job(tmp_path, ["bash", "-c", "trap 'echo heard' TERM; echo up; while :; do sleep 0.1; done"], grace=60)
    process = start(tmp_path)
    until(lambda: "up" in log(tmp_path))
    process.terminate()
    until(lambda: "heard" in log(tmp_path))
    process.terminate()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.wait(WAIT)
    assert time.monotonic() - begun < 2 and gone(status(tmp_path)["pid"])


def test_an_argument_that_is_too_long_is_said_to_be(tmp_path):
    told = run(tmp_path, ["true", "x" * 200_000])
    assert told["reason"] == "step 'true': the program 'true' cannot be started: Argument list too long"
    assert told["exit_code"] == 126 and "128 KiB" in told["hint"]


def test_scratch_is_removed_whatever_happens(tmp_path):
    (tmp_path / "s" / "t").mkdir(parents=True)
    (tmp_path / "f").touch()
    keep = tmp_path / "keep"
    keep.mkdir()
    (tmp_path / "link").symlink_to(keep)
    run(
        tmp_path / "job", ["false"], cwd=os.fspath(tmp_path), scratch=["s", os.fspath(tmp_path / "f"), "link", "absent"]
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["job", "keep"]


@pytest.mark.faults
def test_owner_closes_its_pipe(tmp_path):
    owner = {"pid": os.getpid(), "created": runner.token(os.getpid())}
    write_job(tmp_path, ["sleep", "300"], owner=owner, grace=30)
    process = start(tmp_path, stdin=subprocess.PIPE)
    pid = until(lambda: status(tmp_path).get("pid"))
    process.stdin.close()
    process.wait(2)
    assert gone(pid) and (status(tmp_path)["state"], status(tmp_path)["reason"]) == ("Cancelled", "owner died")


@pytest.mark.faults
def test_a_fork_of_the_owner_keeps_no_job_alive(tmp_path):
    """The owner is killed while a child of its holds the pipe's other end."""
    write_job(tmp_path, ["bash", "-c", "trap '' TERM; while :; do sleep 0.1; done"], grace=30)
    script = f"""
import json, os, subprocess, sys, time
path = {os.fspath(tmp_path / "job.json")!r}
job = json.load(open(path)); job["owner"] = {{"pid": os.getpid()}}; json.dump(job, open(path, "w"))
p = subprocess.Popen({[sys.executable, "-I", "-S", runner.__file__, os.fspath(tmp_path)]!r}, stdin=subprocess.PIPE)
if os.fork() == 0: time.sleep(30); os._exit(0)
time.sleep(300)
"""
    owner = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
    pid = until(lambda: status(tmp_path).get("pid"))
    time.sleep(0.3)
    owner.kill()
    owner.wait()
    until(lambda: gone(pid), 2.2)
    assert until(lambda: status(tmp_path).get("reason")) == "owner died"
    os.killpg(owner.pid, signal.SIGKILL)


def adopted(folder: Path) -> None:
    """Start a runner that is nobody's child, its stdin a pipe at its end, as some schedulers have it."""
    go = (
        "import subprocess, sys; p = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, start_new_session=True); "
        "p.stdin.close()"
    )
    argv = [sys.executable, "-c", go, sys.executable, "-I", "-S", runner.__file__, os.fspath(folder)]
    subprocess.run(argv, check=True)


def test_the_owner_need_not_be_the_parent(tmp_path):
    owner = {"pid": os.getpid(), "created": runner.token(os.getpid()), "numbers": runner.numbers()}
    adopted(write_job(tmp_path, ["sleep", "1"], owner=owner))
    assert until(lambda: status(tmp_path).get("ended")) and status(tmp_path)["state"] == "Done"


@pytest.mark.faults
@pytest.mark.parametrize("seen", [True, False], ids=["same machine", "elsewhere"])
def test_an_owner_that_is_not_the_parent_dies(tmp_path, seen):
    owner = subprocess.Popen(["sleep", "300"])
    facts = {"pid": owner.pid, "created": runner.token(owner.pid), "numbers": runner.numbers() if seen else "else"}
    write_job(tmp_path, ["sleep", "300"], owner=facts)
    if seen:
        adopted(tmp_path)
    else:
        process = start(tmp_path, stdin=subprocess.PIPE)
    pid = until(lambda: status(tmp_path).get("pid"))
    time.sleep(0.7)
    assert not gone(pid)
    owner.kill()
    owner.wait()
    if not seen:
        process.stdin.close()
    until(lambda: gone(pid), 2)
    assert until(lambda: status(tmp_path).get("reason")) == "owner died"


@pytest.mark.faults
def test_steps_die_with_the_runner(tmp_path):
    process = start(write_job(tmp_path, ["sleep", "300"]))
    pid = until(lambda: status(tmp_path).get("pid"))
    process.kill()
    process.wait()
    until(lambda: gone(pid), 2)


@pytest.mark.faults
def test_100_mb_pass_through(tmp_path):
    begun = time.monotonic()
    found = run(tmp_path, ["head", "-c", "100000000", "/dev/zero"])
    assert found["state"] == "Done" and (tmp_path / "output.log").stat().st_size == 100_000_000
    assert time.monotonic() - begun < 20


def test_imports_stay_lean(tmp_path):
    """A job's start waits for these imports; ctypes comes later, once, on Linux."""
    argv = [sys.executable, "-I", "-S", "-X", "importtime", runner.__file__, os.fspath(tmp_path)]
    table = subprocess.run(argv, capture_output=True, text=True).stderr  # no job.json: it fails after its imports
    loaded = {line.split("|")[-1].strip() for line in table.splitlines() if line.startswith("import time")}
    assert {"json", "signal"} <= loaded
    assert not loaded & {"subprocess", "threading", "pathlib", "typing", "socket", "shutil", "logging", "selectors"}


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10", "3.12", "3.13"])
def test_other_pythons(tmp_path, version):
    """Nodes and engine environments may have another Python than the launcher."""
    import shutil

    program = shutil.which(f"python{version}")
    if not program or subprocess.run([program, "-c", ""], capture_output=True).returncode:
        pytest.skip(f"no python{version} here")
    write_job(tmp_path, serve(), ports={"port": None}, service=SERVICE)
    process = subprocess.Popen([program, "-I", "-S", runner.__file__, os.fspath(tmp_path)], stdin=subprocess.DEVNULL)
    until(lambda: status(tmp_path).get("ready"))
    process.terminate()
    process.wait(WAIT)
    assert status(tmp_path)["state"] == "Cancelled" and (tmp_path / "output.log").read_text().count("Error") == 0
