#!/usr/bin/env python3
"""A whole Slurm cluster on loopback, for tests: a controller, a few nodes with pretended GPUs, a munge of its own.

    python slurm_cluster.py up FOLDER          # prints the value for SLURM_CONF; a second call finds it running
    python slurm_cluster.py down FOLDER        # ends all that `up` started and removes FOLDER
    python slurm_cluster.py status FOLDER
    python slurm_cluster.py stop|start|kill|pause|go FOLDER      # the controller alone

Needs slurmctld, slurmd, slurm-client, slurm-wlm-basic-plugins and munge; works as root and as a plain user.
FOLDER's path is best short: it holds a Unix socket.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

NODES, GPUS, CPUS = 4, 8, 4
PROGRAMS = ("munged", "slurmctld", "slurmd", "sinfo", "scontrol")
PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"

CONFIGURATION = """\
ClusterName=loop
SlurmctldHost={machine}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.sock
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
GresTypes=gpu
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=1
MinJobAge={age}
KillWait=2
MessageTimeout=20
NodeName=n[1-{nodes}] NodeHostname={machine} NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs={cpus} {sizes}
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=60 State=UP
PartitionName=small Nodes=n1 MaxTime=10 State=UP
PartitionName=closed Nodes=ALL State=INACTIVE
PartitionName=urgent Nodes=n1 MaxTime=10 State=UP PriorityTier=10 PreemptMode=OFF
"""


def until(reached: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > end:
            raise SystemExit(f"slurm_cluster: {what} within {seconds:g} s")
        time.sleep(0.05)


def run_of_free_ports(count: int) -> int:
    for base in range(26000 + os.getpid() % 400 * 16, 60000, 16):
        held = [socket.socket() for _ in range(count)]
        try:
            for offset, holder in enumerate(held):
                holder.bind(("127.0.0.1", base + offset))
        except OSError:
            continue
        finally:
            for holder in held:
                holder.close()
        return base
    raise SystemExit("slurm_cluster: no ports are free")


class Cluster:
    """One cluster, known by its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.conf = self.folder / "slurm.conf"
        self.env = {**os.environ, "SLURM_CONF": str(self.conf), "PATH": PATH}
        self.nodes = [f"n{i}" for i in range(1, NODES + 1)]

    def pid(self, name: str) -> int | None:
        """Return the PID of a daemon that lives, by its PID file's name; a number that another program has is None."""
        try:
            pid = int((self.folder / f"{name}.pid").read_text())
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (OSError, ValueError):
            return None
        comm, state = stat[stat.index("(") + 1 : stat.rindex(")")], stat[stat.rindex(")") + 2]
        return pid if comm.startswith(name.split("-")[0]) and state not in "ZX" else None

    def run(self, *argv: str, limit: float = 30) -> subprocess.CompletedProcess[str]:
        return subprocess.run(argv, env=self.env, capture_output=True, text=True, timeout=limit)

    def start(self, name: str, *argv: str) -> None:
        if self.pid(name) is None:
            done = self.run(*argv)
            if done.returncode:
                raise SystemExit(f"slurm_cluster: {argv[0]} does not start: {done.stderr or done.stdout}")

    def end(self, name: str, number: int = signal.SIGTERM) -> None:
        if pid := self.pid(name):
            os.kill(pid, number)
            try:
                until(lambda: self.pid(name) is None, 8, f"{name} did not end")
            except SystemExit:
                os.kill(pid, signal.SIGKILL)
        (self.folder / f"{name}.pid").unlink(missing_ok=True)

    def up(self) -> None:
        if missing := [name for name in PROGRAMS if not shutil.which(name, path=PATH)]:
            raise SystemExit(f"slurm_cluster: {', '.join(missing)} not found; install slurmctld slurmd munge")
        if not self.conf.exists():
            self.write()
        folder = str(self.folder)
        files = [("socket", "munge.sock"), ("key-file", "munge.key"), ("pid-file", "munged.pid")]
        files += [("log-file", "munged.log"), ("seed-file", "munged.seed")]
        if self.pid("munged") is None:
            for left in self.folder.glob("munge.sock*"):
                left.unlink()
        self.start("munged", "munged", "--force", *(f"--{option}={folder}/{file}" for option, file in files))
        self.controller()
        for node in self.nodes:
            self.start(f"slurmd-{node}", "slurmd", "-N", node)
        until(self.idle, 20, "the nodes did not come up")

    def controller(self) -> None:
        self.start("slurmctld", "slurmctld")
        until(lambda: self.run("scontrol", "ping").returncode == 0, 15, "slurmctld did not answer")

    def idle(self) -> bool:
        states = self.run("sinfo", "-h", "-N", "-p", "debug", "-o", "%T").stdout.split()
        return len(states) >= NODES and all(state in ("idle", "mixed", "allocated") for state in states)

    def write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "state").mkdir(exist_ok=True)
        for node in self.nodes:
            (self.folder / f"spool-{node}").mkdir(exist_ok=True)
        key = self.folder / "munge.key"
        key.touch(0o600)
        key.write_bytes(os.urandom(1024))
        for i in range(GPUS):
            (self.folder / f"gpu{i}").symlink_to("/dev/null")
        port = run_of_free_ports(NODES + 1)
        gres = f"AutoDetect=off\nNodeName=n[1-{NODES}] Name=gpu File={self.folder}/gpu[0-{GPUS - 1}]\n"
        (self.folder / "gres.conf").write_text(gres)
        (self.folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
        text = CONFIGURATION.format(
            folder=self.folder, machine=socket.gethostname().split(".")[0], user=getpass.getuser(), port=port,
            first=port + 1, last=port + NODES, nodes=NODES, sizes=f"RealMemory=1000 Gres=gpu:{GPUS}", cpus=CPUS,
            age=os.environ.get("SLURM_CLUSTER_MINJOBAGE", "300"),
        )  # fmt: skip
        self.conf.write_text(text)

    def down(self) -> None:
        if self.pid("slurmctld"):
            self.run("scancel", "--full", "--signal=KILL", f"--user={getpass.getuser()}")
            self.run("scancel", f"--user={getpass.getuser()}")
            until_no = time.monotonic() + 6
            while self.run("squeue", "-h").stdout.strip() and time.monotonic() < until_no:
                time.sleep(0.1)
        for name in (*(f"slurmd-{node}" for node in self.nodes), "slurmctld", "munged"):
            self.end(name)
        shutil.rmtree(self.folder, ignore_errors=True)

    def status(self) -> None:
        for name in ("munged", "slurmctld", *(f"slurmd-{node}" for node in self.nodes)):
            print(name, self.pid(name) or "-")


def main(action: str, folder: str) -> None:
    cluster = Cluster(Path(folder))
    pid = cluster.pid("slurmctld")
    if action == "up":
        cluster.up()
        print(cluster.conf)
    elif action in ("down", "status"):
        getattr(cluster, action)()
    elif action == "start":
        cluster.controller()
    elif action in ("stop", "kill"):
        cluster.end("slurmctld", signal.SIGTERM if action == "stop" else signal.SIGKILL)
    elif action in ("pause", "go") and pid:
        os.kill(pid, signal.SIGSTOP if action == "pause" else signal.SIGCONT)
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) == 3 else sys.exit(__doc__)
