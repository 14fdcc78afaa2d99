"""One process of several, under srun: `python -I -S rank.py ADDRESS PORT PROGRAM ARGUMENT…`.

Gives the program the variables that torchrun gives, from Slurm's, and runs it. If it fails though nobody had told it to
end, how it failed is left in the job's folder: srun knows the worst code of all, also of those that it killed then.
Python >= 3.8 and its standard library alone.
"""

# ruff: noqa: UP031, PTH105, PTH118, PTH123

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time

ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGXCPU)
OTHER = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF)
LATE = 0.3
"""Seconds by which a signal to all processes of a step may reach this one later than the program."""


def variables(slurm: dict[str, str], address: str, port: str) -> dict[str, str]:
    """Return torchrun's variables. RANK counts all processes, LOCAL_RANK those of a node, GROUP_RANK the nodes."""
    size, nodes = int(slurm["SLURM_NTASKS"]), int(slurm.get("SLURM_STEP_NUM_NODES") or slurm["SLURM_NNODES"])
    if address in ("0.0.0.0", "::"):  # noqa: S104 (compared, not bound)
        address = slurm.get("SLURM_LAUNCH_NODE_IPADDR") or slurm["SLURMD_NODENAME"]
    rank, group = slurm["SLURM_PROCID"], slurm["SLURM_NODEID"]
    return {
        "MASTER_ADDR": address,
        "MASTER_PORT": port,
        "WORLD_SIZE": str(size),
        "RANK": rank,
        "LOCAL_RANK": slurm["SLURM_LOCALID"],
        "LOCAL_WORLD_SIZE": str(size // nodes),
        "GROUP_RANK": group,
        "NODE_RANK": group,
        "GROUP_WORLD_SIZE": str(nodes),
        "ROLE_RANK": rank,
        "ROLE_WORLD_SIZE": str(size),
    }


class Rank:
    """The program and what became of it."""

    def __init__(self) -> None:
        self.told = False  # to end

    def hear(self, number: int, _: object) -> None:
        """Live on: Slurm's signals go to all processes of a step, so the program has got this one, too."""
        self.told = self.told or number in ENDING

    def run(self, argv: tuple[str, ...]) -> int:
        """Run the program and return its exit code, 128 + N if the signal N ended it."""
        import ctypes

        prctl, me = ctypes.CDLL(None).prctl, os.getpid()
        heard = {*ENDING, *OTHER}

        def become() -> None:
            prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
            if os.getppid() != me:
                os._exit(1)
            for number in heard:
                signal.signal(number, before[number])
            signal.pthread_sigmask(signal.SIG_UNBLOCK, heard)

        signal.pthread_sigmask(signal.SIG_BLOCK, heard)
        before = {number: signal.signal(number, self.hear) for number in heard}
        try:
            program = subprocess.Popen(argv, close_fds=False, preexec_fn=become)
        except OSError as error:
            code = 127 if error.errno == errno.ENOENT else 126
            why = "the program %r cannot be started: %s" % (argv[0], error.strerror)
            sys.stderr.write(why + "\n")
            leave(code, why=why)
            return code
        signal.pthread_sigmask(signal.SIG_UNBLOCK, heard)
        code = program.wait()
        if code and not self.told:
            when = time.time()
            if code < 0 or code > 128:
                time.sleep(LATE)
            if not self.told:
                leave(128 - code if code < 0 else code, when=when, signal=-code if code < 0 else None)
        return 128 - code if code < 0 else code


def leave(code: int, **facts: object) -> None:
    """Write down, for the runner, how this rank's program failed."""
    rank = os.environ["RANK"]
    told = dict(facts, rank=int(rank), exit_code=code, node=os.environ.get("SLURMD_NODENAME", ""))
    told.setdefault("when", time.time())
    path = os.path.join(os.environ["LAZYLLM_JOB_DIR"], "failed-%s.json" % rank)
    try:
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(told, file)
        os.replace(path + ".new", path)
    except OSError as error:
        sys.stderr.write("Could not write %s: %s\n" % (path, error))


def main(address: str, port: str, *argv: str) -> int:
    os.environ.update(variables(dict(os.environ), address, port))
    return Rank().run(argv)


if __name__ == "__main__":
    ended = main(*sys.argv[1:])
    sys.stderr.flush()
    os._exit(ended)  # an interpreter that ends in order lets a late signal kill it
