"""Runs one job where it stands: `python -I -S runner.py FOLDER`, with Python >= 3.8 and its standard library alone.

It reads job.json in FOLDER, reserves ports, runs the steps one after another, looks whether the service answers, ends
everything that the job started, and keeps status.json true all the while. The launcher's part is `job.py`; what both
sides need to know of processes stands in the first half of this file, because a runner cannot import a neighbour.
"""

from __future__ import annotations

import errno
import json
import math
import os
import select
import signal
import stat
import sys
import time

TYPE_CHECKING = False  # typing costs milliseconds at run time
if TYPE_CHECKING:
    from typing import Any

MARK, DETACHED = b"LAZYLLM_JOB_ID", b"LAZYLLM_JOB_DETACHED"
RANKS = "LAZYLLM_JOB_RANKS"  # set where RANK is the job's own, not one that its starter happened to have
RESULT = "result.json"
TOO_LONG = "Linux takes 128 KiB an argument, and some 2 MB of arguments and variables: hand long text over in a file."
LINUX = sys.platform.startswith("linux")
BOOT = ""
if LINUX:
    with open("/proc/sys/kernel/random/boot_id") as _file:
        BOOT = _file.read(8) + ":"


def processes() -> dict[int, tuple[int, int, str]]:
    """Return {pid: (parent, session, token)} of all live processes; zombies are dead. A token is never used twice."""
    if LINUX:
        read = ((int(name), _stat(name)) for name in os.listdir("/proc") if name.isdigit())
        return {pid: facts for pid, facts in read if facts}
    rows = (line.split(None, 3) for line in _ps("-A", "-o", "pid=,ppid=,stat=,lstart=").splitlines())
    return {int(row[0]): (int(row[1]), -1, row[3].strip()) for row in rows if not row[2].startswith("Z")}


def token(pid: int) -> str | None:
    """Return what tells the process `pid` from every other that has or will have its number; None if it is dead."""
    if LINUX:
        facts = _stat(str(pid))
        return facts[2] if facts else None
    line = _ps("-p", str(pid), "-o", "stat=,lstart=").strip()
    return line.split(None, 1)[1] if line and not line.startswith("Z") else None


def numbers() -> str:
    """Return a name of the space that process numbers count in: where it is the same, a number means the same."""
    if LINUX:
        return BOOT + os.readlink("/proc/self/ns/pid")
    return os.uname().nodename


def _stat(pid: str) -> tuple[int, int, str] | None:
    try:
        with open("/proc/" + pid + "/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    fields = text[text.rindex(b")") + 2 :].split()  # the name before it may hold spaces and brackets
    return None if fields[0] in b"ZX" else (int(fields[1]), int(fields[3]), BOOT + fields[19].decode())


def _ps(*options: str) -> str:
    import subprocess

    return subprocess.run(["ps", *options], stdout=subprocess.PIPE, check=False).stdout.decode("utf-8", "replace")


def environment(pid: int) -> dict[bytes, bytes]:
    """Return what environment `pid` was started with; empty if it cannot be read."""
    try:
        if LINUX:
            with open("/proc/%d/environ" % pid, "rb") as file:
                items = file.read().split(b"\0")
        else:
            items = os.fsencode(_ps("-Eww", "-p", str(pid), "-o", "command=")).split()
    except OSError:
        return {}
    return dict(item.split(b"=", 1) for item in items if b"=" in item)


def family(job_id: str, root: int = 0, session: int = 0, since: str = "") -> dict[int, str]:
    """Return {pid: token} of a job's processes, but `root` itself and this process.

    Found are descendants of `root`, processes that carry the job's mark, those of the step's `session` (some programs
    overwrite their environment) that are no older than `since`, and the descendants of all these. A detached job that
    was started from within this one is not part of it.
    """
    table = processes()
    wanted = job_id.encode()
    children = {}  # type: dict[int, list[int]]
    todo = [root] if root else []
    for pid, (parent, sid, born) in table.items():
        children.setdefault(parent, []).append(pid)
        if session and sid == session and _not_before(born, since):
            todo.append(pid)
        elif environment(pid).get(MARK) == wanted:
            todo.append(pid)
    found = {}  # type: dict[int, str]
    seen = {os.getpid()} - {root}
    while todo:
        pid = todo.pop()
        if pid in seen:
            continue
        seen.add(pid)
        if pid != root:
            if pid not in table or environment(pid).get(DETACHED, b"") not in (b"", wanted):
                continue
            found[pid] = table[pid][2]
        todo.extend(children.get(pid, ()))
    return found


def _not_before(born: str, since: str) -> bool:
    (boot, _, ticks), (boot_then, _, ticks_then) = born.partition(":"), since.partition(":")
    return boot == boot_then and ticks.isdigit() and ticks_then.isdigit() and int(ticks) >= int(ticks_then)


def kill(pid: int, born: str, number: int) -> None:
    """Send a signal to the process that `born` belongs to, never to another that was given its number since."""
    try:
        if hasattr(os, "pidfd_open") and hasattr(signal, "pidfd_send_signal"):
            handle = os.pidfd_open(pid)
            try:
                if token(pid) == born:
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)
        elif token(pid) == born:
            os.kill(pid, number)
    except OSError:
        return  # dead already, or not ours to kill: whoever looks again finds it


def press(left: dict[int, str], told: set[int], hard: bool) -> None:
    """Have processes, {pid: token}, end: TERM to those that were not told yet, or KILL to all if `hard`."""
    for pid, born in left.items():
        if hard:
            kill(pid, born, signal.SIGKILL)
        elif pid not in told:
            told.add(pid)
            kill(pid, born, signal.SIGTERM)
            kill(pid, born, signal.SIGCONT)  # a stopped process hears nothing


def lock_port(port: int, abstract: bool = LINUX) -> object:
    """Reserve `port` among all jobs and users of this machine while the returned object lives; None if it is taken.

    An abstract socket's name can be bound once and goes with its process, however that ends; elsewhere a locked file.
    """
    import socket

    if abstract:
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            lock.bind("\0lazyllm-port-%d" % port)
        except OSError:
            lock.close()
            return None
        return lock
    import fcntl

    try:
        path = "/tmp/lazyllm-port-%d" % port  # noqa: S108 (all users must find it, and no link is followed)
        file = os.fdopen(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o666), "w")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return None
    return file


def port_free(host: str, port: int) -> bool:
    """Say whether a server could bind `port` now."""
    import socket

    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, UnicodeError):  # UnicodeError: no machine can be called so
            return False
    return True


def port_holder(port: int) -> tuple[int, str] | None:
    """Return (pid, name) of which other process listens on `port` or has it reserved, as far as this user may see."""
    inodes = set()
    for name, inode in (("tcp", 9), ("tcp6", 9), ("unix", 6)):
        try:
            with open("/proc/net/" + name) as file:
                rows = [line.split() for line in file][1:]
        except OSError:
            continue
        for row in rows:
            reserved = name == "unix" and row[-1] == "@lazyllm-port-%d" % port
            if reserved or (name != "unix" and row[3] == "0A" and row[1].endswith(":%04X" % port)):
                inodes.add("socket:[%s]" % row[inode])
    for pid in sorted(set(processes()) - {os.getpid()}) if inodes else ():
        folder = "/proc/%d/fd/" % pid
        try:
            if any(os.readlink(folder + fd) in inodes for fd in os.listdir(folder)):
                with open("/proc/%d/comm" % pid) as file:
                    return pid, file.read().strip()
        except OSError:
            continue
    return None


def job_of(pid: int) -> str:
    """Return the id of the job that the process `pid` is part of, or the runner of; empty if of none."""
    mark = environment(pid).get(MARK, b"").decode("ascii", "replace")
    if mark:
        return mark
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            folder = file.read().split(b"\0")[-2]
        with open(os.path.join(folder, b"job.json")) as job:
            return str(json.load(job)["id"])
    except (OSError, ValueError, LookupError):
        return ""


def node_address(home: str, name: str = "") -> str:
    """Return the address of this machine by which the machine `home` reaches it; the loopback's if it is `home` itself.

    `name` is what a scheduler calls this machine. An address that cannot be bound here is no answer, nor is one of the
    loopback (some distributions give it to the machine's own name), unless `name` is one. 0.0.0.0 if nothing is found.
    """
    own = os.uname().nodename
    if home == own and not name:
        return "127.0.0.1"
    found = [ip for ip in resolve(name or own) if ip == name or not is_loopback(ip)]
    found += [toward(ip) for ip in resolve(home)]
    found.append(toward("203.0.113.1"))  # an address that nobody has: it shows the way out
    return next((ip for ip in found if ip and port_free(ip, 0)), "0.0.0.0")  # noqa: S104 (the name is told instead)


def resolve(name: str) -> list[str]:
    """Return the addresses of a machine, those of IPv4 first; none if it is unknown."""
    import socket

    try:
        rows = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM) if name else []
    except OSError:
        return []
    return list(dict.fromkeys(str(row[4][0]) for row in sorted(rows, key=lambda row: row[0] != socket.AF_INET)))


def toward(ip: str) -> str:
    """Return the address of this machine that speaks to `ip`, nothing being sent; empty if it is the loopback's."""
    import socket

    with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((ip, 9))
            mine = str(probe.getsockname()[0])
        except OSError:
            return ""
    return "" if is_loopback(mine) else mine


def is_loopback(ip: str) -> bool:
    return ip.startswith("127.") or ip == "::1"


def drain(link: Any, limit: int = 1 << 16, seconds: float = 1.0) -> None:
    """Read on until the other side ends: it would take a connection that is closed with data unread for an error."""
    end = time.monotonic() + seconds
    while limit > 0 and time.monotonic() < end:
        link.settimeout(seconds)
        piece = link.recv(limit)
        if not piece:
            return
        limit -= len(piece)


def encode(text: str) -> bytes:
    """Return the bytes that a launcher's string stands for."""
    return text.encode("utf-8", "surrogateescape")


def write_json(path: str, data: object) -> None:
    """Write `path` in one piece: whoever reads it finds the old or the new content, readable by its owner alone."""
    temporary = "%s.%s" % (path, os.urandom(4).hex())
    try:
        with os.fdopen(os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            file.write(json.dumps(data))
        os.replace(temporary, path)
    except BaseException:
        remove(temporary)
        raise


def remove(path: str) -> None:
    """Remove a file, link or whole folder, if it is there."""
    if os.path.isdir(path) and not os.path.islink(path):
        import shutil

        shutil.rmtree(path, ignore_errors=True)
        return
    try:
        os.unlink(path)
    except (FileNotFoundError, NotADirectoryError):
        pass  # never there, or somebody was faster


class Ended(Exception):
    """The job is over: final `state`, and facts for status.json."""

    def __init__(self, reason: str | None, state: str = "Failed", **facts: object) -> None:
        self.state, self.facts = state, dict(facts, reason=reason)


class Runner:
    """One job, from its record to its end."""

    unasked = "stopped"
    """Why a job ends that is told to, where nobody noted that wish in its folder: under a scheduler it was that."""
    beat = 0.0
    """Seconds between two signs of life, which are a file's time, for whoever cannot see this process; 0 for none."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        with open(os.path.join(folder, "job.json")) as file:
            self.job = json.load(file)
        self.owner, self.line = self.find_owner(self.job.get("owner") or {})
        self.host = self.job.get("host") or self.find_host()
        self.limit = self.job.get("timeout")  # type: float | None
        self.begun = time.monotonic()
        self.grace = float(self.job.get("grace", 5))
        self.log = os.open(os.path.join(folder, "output.log"), os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        self.beaten = -math.inf
        self.heard = set()  # type: set[int]
        self.near = bool(self.job.get("notify"))  # its launcher is on this machine, so signals reach this runner
        self.pid, self.code = 0, None  # type: tuple[int, int | None]
        self.ports = {}  # type: dict[str, int]
        self.locks = []  # type: list[object]
        self.answer = ""  # what the service said last; "ready" when it is
        self.childless = True
        self.subreaper = False
        self.status = {
            "state": "Running", "phase": "starting", "node": os.uname().nodename, "runner_pid": os.getpid(),
            "runner_created": token(os.getpid()), "pid": None, "pid_created": None, "step": None, "exit_code": None,
            "signal": None, "reason": None, "address": None, "ready": False, "started": time.time(), "ended": None,
        }  # fmt: skip

    def run(self) -> int:
        self.prepare()
        name = ""
        try:
            if self.unwanted():
                raise self.stopped()  # while it waited in a queue
            self.reserve()
            if self.job.get("returns"):
                remove(os.path.join(self.folder, RESULT))  # of a run before the job was put back into the queue
            for step in self.job["steps"]:
                name = step.get("name") or os.path.basename(str(step["argv"][0]))
                self.step(step, name, last=step is self.job["steps"][-1])
            result = self.job.get("result")
            if isinstance(result, str) and os.path.isabs(result) and not os.path.lexists(encode(result)):
                raise Ended("step '%s' ended well but did not make %s" % (name, result), exit_code=0)
            if self.job.get("returns") and not self.returned():
                hint = "The function ended its process, by sys.exit() or os._exit(), instead of returning."
                raise Ended("step '%s' ended well but returned nothing" % name, exit_code=0, hint=hint)
            end = Ended(None, "Done", exit_code=0)
        except Ended as reached:
            end = reached
        except Exception as error:
            import traceback

            traceback.print_exc()
            end = Ended("the runner failed: %s: %s" % (type(error).__name__, error))
        left = self.end_tree()
        if left:
            end.facts["left"] = left
        for path in (*self.job.get("scratch", ()), os.path.join(self.folder, "secrets.json")):
            try:
                remove(os.path.join(self.job.get("cwd") or "/", path))
            except OSError as error:
                print("Could not remove %s: %s" % (path, error), file=sys.stderr)
        self.say(state=end.state, phase="ended", ready=False, ended=time.time(), **end.facts)
        code = end.facts.get("exit_code")
        return code if isinstance(code, int) and code > 0 else int(end.state != "Done")

    def prepare(self) -> None:
        """Make this process hear of every child's end, adopt orphans, and wake up for signals."""
        self.wake, self.bell = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(self.bell, False)
        signal.set_wakeup_fd(self.bell, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self.told)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.prctl = None
        if LINUX:
            import ctypes

            self.prctl = ctypes.CDLL(None).prctl
            self.subreaper = self.prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER
        self.status["reads_notes"] = not self.near
        if self.job.get("notify"):
            os.set_blocking(1, False)

    @staticmethod
    def find_owner(told: dict[str, Any]) -> tuple[dict[str, Any] | None, bool]:
        """Return the owner, if its life can be looked up from here, and whether stdin's end means its death."""
        if not told:
            return None, False
        seen = told.get("numbers") in (None, numbers())
        kind = os.fstat(0).st_mode
        pipe = stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)
        # a scheduler may give its job any stdin: it is the owner's if this is its child, or else the only sign of it
        return (told if seen else None), pipe and (not seen or os.getppid() == told["pid"])

    def find_host(self) -> str:
        return node_address(self.job.get("node", ""))

    def told(self, number: int, _: object) -> None:
        self.heard.add(number)

    @property
    def terms(self) -> int:
        """How many different signals told this runner to stop: several may ask, and some schedulers do so twice."""
        return len(self.heard)

    def say(self, **changes: object) -> None:
        """Write status.json, unless it was closed, and tell a launcher that waits at the other end of stdout."""
        self.status.update(changes)
        try:
            if over(self.folder):
                return
            write_json(os.path.join(self.folder, "status.json"), self.status)
        except OSError as error:
            print("Could not write the job's status: %s" % error, file=sys.stderr)
        if self.job.get("notify"):
            try:
                os.write(1, b".")
            except OSError:
                pass  # the launcher is gone; the file says it all

    def reserve(self) -> None:
        wanted = self.job.get("ports") or {}
        if wanted and not port_free(self.host, 0):
            hint = "Let the server bind an address of the machine that it runs on."
            raise Ended("the address %s is none of this machine's" % self.host, hint=hint)
        for name, port in wanted.items():
            self.ports[name] = self.wished(port) if port else self.free()
        shown = self.host
        if wanted and shown in ("0.0.0.0", "::"):  # noqa: S104 (compared, not bound)
            shown = os.uname().nodename
        self.say(address={"host": shown, "ports": self.ports})

    def wished(self, port: int) -> int:
        lock = lock_port(port)
        if lock is None or not port_free(self.host, port):
            holder = port_holder(port)
            by, hint = " (by PID %d %s)" % holder if holder else "", "Choose another port, or none for a free one."
            job = job_of(holder[0]) if holder else ""
            if job:
                by, hint = " (by job %s)" % job, "lazyllm stop %s ends that job. %s" % (job, hint)
            raise Ended("port %d is taken on %s%s" % (port, self.host, by), hint=hint)
        self.locks.append(lock)
        return port

    def free(self) -> int:
        low, high = 20000, 32768
        try:
            with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
                high = int(file.read().split()[0])  # above it the kernel deals ports out to clients
        except (OSError, ValueError):
            pass
        if high < low + 1000:
            high = 32768
        start = int.from_bytes(os.urandom(4), "little")
        for i in range(high - low):
            port = low + (start + i) % (high - low)
            lock = lock_port(port)
            if lock is not None and port_free(self.host, port):
                self.locks.append(lock)
                return port
        raise Ended("no free port from %d to %d on %s" % (low, high - 1, self.host))

    def fill(self, item: Any) -> bytes:
        if isinstance(item, dict):
            name = item.get("name", "")
            if item["ref"] == "port":
                item = str(self.ports[name])
            else:
                item = self.host if item["ref"] == "host" else os.path.join(self.folder, "files", name)
        return encode(item)

    def step(self, step: dict[str, Any], name: str, last: bool) -> None:
        pid = self.spawn([self.fill(item) for item in step["argv"]], name)
        self.say(phase="running", step=name, pid=pid, pid_created=token(pid))
        service = (self.job.get("service") if last else None) or {}  # type: dict[str, Any]
        limit = 0.0
        if service:
            import _thread  # threading costs milliseconds; this thread is left to itself

            limit = time.monotonic() + service["timeout"]
            _thread.start_new_thread(self.probe, (service,))
        while True:
            self.reap()
            if self.code is not None:
                break
            self.check()
            if limit and self.answer == "ready":
                limit = 0
                self.say(phase="ready", ready=True)
            if limit and time.monotonic() > limit:
                raise Ended("not ready within %g s (%s)" % (service["timeout"], self.answer or "no answer"))
            self.sleep(min(0.5 if self.owner else 60, limit - time.monotonic() if limit else 60))
        if self.code and (self.terms or self.unwanted()):
            raise self.stopped()  # whoever cancels may signal all of a job's processes at once
        if os.WIFSIGNALED(self.code):
            number = os.WTERMSIG(self.code)
            what = signal.Signals(number).name if number in set(signal.Signals) else "signal %d" % number
            hint = {"hint": "Perhaps memory ran out; dmesg tells."} if number == signal.SIGKILL else {}
            raise Ended("step '%s' was ended by %s" % (name, what), signal=what, exit_code=128 + number, **hint)
        if self.code:
            code = os.WEXITSTATUS(self.code)
            raise Ended("step '%s' failed with exit code %d" % (name, code), exit_code=code)

    def environment(self) -> dict[bytes, bytes]:
        added = dict(self.job.get("env") or {})
        if self.job.get("secrets"):
            with open(os.path.join(self.folder, "secrets.json")) as file:
                added.update(json.load(file))
        added.update(LAZYLLM_JOB_ID=self.job["id"], LAZYLLM_JOB_DIR=self.folder)
        added[RANKS] = "1" if self.job.get("ranks") else ""
        added[DETACHED.decode()] = self.job["id"] if self.job.get("detached") else ""
        return {**os.environb, **{encode(name): encode(value) for name, value in added.items()}}

    def spawn(self, argv: list[bytes], name: str) -> int:
        """Start a program in a session of its own that dies with this process; raise Ended if there is none."""
        env = self.environment()
        cwd = self.job.get("cwd")
        reader, writer = os.pipe()
        runner = os.getpid()
        self.code = None
        self.pid = pid = os.fork()
        if not pid:
            self.become(argv, env, cwd, runner, writer)
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            told = file.read().decode()
        self.childless = False
        if not told:
            return pid
        stage, number = told.split()
        why = os.strerror(int(number))
        if stage == "cwd":
            raise Ended("its working folder %s cannot be entered: %s" % (cwd, why), step=name)
        hints = {errno.ENOENT: "Install it, or give its full path.", errno.E2BIG: TOO_LONG}
        raise Ended(
            "step '%s': the program %r cannot be started: %s" % (name, argv[0].decode("utf-8", "replace"), why),
            step=name,
            exit_code=127 if int(number) == errno.ENOENT else 126,
            hint=hints.get(int(number), "Is it a program, and may you execute it?"),
        )

    def become(self, argv: list[bytes], env: dict[bytes, bytes], cwd: str | None, runner: int, writer: int) -> None:
        stage = b"cwd"
        try:
            os.setsid()
            if self.prctl:
                self.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
            if os.getppid() != runner:
                os._exit(1)
            for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            for target, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, self.log), (2, self.log)):
                os.dup2(source, target)
            if cwd:
                os.chdir(encode(cwd))
            stage = b"exec"
            os.execvpe(argv[0], argv, env)  # noqa: S606 (no shell: that is the point)
        except Exception as error:
            os.write(writer, b"%s %d" % (stage, getattr(error, "errno", 0) or errno.EINVAL))
        finally:
            os._exit(127)

    def reap(self) -> None:
        """Take the end of every child, adopted ones too; zombies would count as running."""
        while not self.childless:
            try:
                pid, code = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self.childless = True
                return
            if not pid:
                return
            if pid == self.pid:
                self.code = code

    def check(self) -> None:
        """Raise Ended if somebody wants this job to end, or its time is over."""
        if self.left() <= 0:
            raise self.timed_out()
        if self.terms or (not self.near and self.unwanted()):
            raise self.stopped()
        owner = self.owner
        if owner and os.getppid() != owner["pid"] and token(owner["pid"]) != owner.get("created", 0):
            self.lost()

    def stopped(self) -> Ended:
        return Ended("stopped" if self.unwanted() else self.unasked, "Cancelled")

    def lost(self) -> None:
        self.owner, self.line, self.grace = None, False, min(self.grace, 1.0)
        raise Ended("owner died", "Cancelled")

    def left(self) -> float:
        """Return the seconds until this job's time is over."""
        return self.limit - (time.monotonic() - self.begun) if self.limit else math.inf

    def unwanted(self) -> bool:
        """Say whether somebody noted in the folder that this job should end: a signal may not reach a far runner."""
        try:
            return "stopping" in os.listdir(self.folder)  # a network drive remembers for long that it was not there
        except OSError:
            return False  # a network drive may falter: no reason to end a job

    def returned(self) -> bool:
        """Say whether the function's result is there."""
        try:
            return RESULT in os.listdir(self.folder)
        except OSError:
            return True  # whoever reads it finds out

    def timed_out(self) -> Ended:
        return Ended("did not end within its timeout of %g s" % (self.limit or 0))

    def sleep(self, seconds: float) -> None:
        """Sleep until a signal, a child's end, the service's answer, the owner's death or the time is over."""
        if self.beat and time.monotonic() - self.beaten > self.beat:
            self.beaten = time.monotonic()
            self.give_sign()
        if self.left() > 0:
            seconds = min(seconds, self.left())
        seconds = seconds if self.near else min(seconds, 1.0)
        ready = select.select([self.wake] + ([0] if self.line else []), [], [], max(seconds, 0))[0]
        if self.wake in ready:
            os.read(self.wake, 4096)
        if 0 in ready and not os.read(0, 4096):
            self.lost()

    def give_sign(self) -> None:
        path = os.path.join(self.folder, "alive")
        try:
            with open(path, "ab"):
                os.utime(path)
        except OSError:
            pass  # a network drive may falter: the next one follows

    def probe(self, service: dict[str, Any]) -> None:
        import socket

        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        port = self.ports[service["port"]]
        request = "GET %s HTTP/1.1\r\nHost: %s:%d\r\nConnection: close\r\n\r\n" % (service["health"], host, port)
        pause = 0.02
        while True:
            try:
                with socket.create_connection((host, port), timeout=5) as link:
                    link.sendall(request.encode())
                    head = piece = link.recv(4096)
                    while piece and b"\n" not in head and len(head) < 4096:
                        piece = link.recv(4096)
                        head += piece
                    answer = head.split(None, 2)
                    if len(answer) > 1 and answer[0].startswith(b"HTTP/") and answer[1].startswith(b"2"):
                        self.answer = "ready"
                        os.write(self.bell, b"!")
                    else:
                        self.answer = b" ".join(answer[:2]).decode("ascii", "replace") or "an empty answer"
                    drain(link)
            except OSError as error:
                if self.answer == "ready":
                    return
                self.answer = error.strerror or str(error)
            if self.answer == "ready":
                return
            time.sleep(pause)
            pause = min(pause * 1.3, 0.5)

    def end_tree(self) -> list[int]:
        """End all that the job started: TERM, then KILL after grace or another signal. Return what would not die."""
        told = set()  # type: set[int]
        begun = time.monotonic()
        while True:
            self.reap()
            if self.childless and self.subreaper:
                return []  # nothing can leave the tree of a subreaper
            left = family(self.job["id"], root=os.getpid())
            if not left:
                return []
            late = time.monotonic() - begun
            hard = late > self.grace or self.terms >= 2
            press(left, told, hard)
            if late > self.grace + 20:
                return sorted(left)
            try:
                self.sleep(0.02 if hard else min(0.1, max(self.grace - late, 0)) + 0.001)
            except Ended:
                continue  # the owner died meanwhile: the grace is shorter now


def over(folder: str) -> bool:
    """Say whether the job was ended before it began: a scheduler may start what it had queued even so."""
    try:
        with open(os.path.join(folder, "status.json")) as file:
            return json.load(file).get("state") in ("Done", "Failed", "Cancelled")
    except (OSError, ValueError):
        return False


if __name__ == "__main__":
    os._exit(1 if over(sys.argv[1]) else Runner(sys.argv[1]).run())
