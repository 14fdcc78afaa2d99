#!/usr/bin/env python3
"""Simulated PBS (qsub, qstat, qdel) and LSF (bsub, bjobs, bkill, lsid): one file, which acts as what it is called.

Jobs really run, here, one process tree each. What a submission prints, which directives are taken, how jobs are listed
and how their ends look follows the vendors' manuals (PBS Professional 2021.1, LSF 10.1); neither was at hand to compare
with, so exact wordings of errors are likely rather than certain. State is kept in the folder that SIM_SCHEDULER names;
its name is the cluster's, too.
Files in it change its ways: `down` (all commands fail), `no-history` (ended jobs are forgotten), `hold` (none starts),
`slow` (a submission is answered after three seconds).
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(os.environ.get("SIM_SCHEDULER", "/nonexistent"))
CPUS, GPUS, KILL_DELAY = 4, 8, 10.0
PBS_TAKES = set("ANVelmoqrjkSW")
LSF_TAKES = {"J", "env", "W", "q", "P", "G", "n", "R", "gpu", "e", "o", "M", "U", "app", "sla"}


def fail(words: str, code: int) -> None:
    sys.stderr.write(words + "\n")
    raise SystemExit(code)


def options(text: str, mark: str, everywhere: bool) -> list[tuple[str, str]]:
    """Return the directives of a script: PBS stops reading at the first command, LSF does not."""
    found = []
    for line in text.splitlines():
        if line.startswith(mark + " "):
            words = shlex.split(line[len(mark) :])
            found.append((words[0].lstrip("-"), " ".join(words[1:])))
        elif line.strip() and not line.startswith("#") and not everywhere:
            break
    return found


def add(script: str, **facts: object) -> str:
    number = 1
    while True:
        try:
            (ROOT / str(number)).mkdir()
            break
        except FileExistsError:
            number += 1
    folder = ROOT / str(number)
    (folder / "script").write_bytes(script.encode("utf-8", "surrogateescape"))
    (folder / "environ").write_bytes(b"\0".join(b"%s=%s" % item for item in os.environb.items()))
    write(folder, state="queued", **facts)
    argv = [sys.executable, __file__, "--run", str(folder)]
    own = {"SIM_SCHEDULER": str(ROOT), "PATH": os.environ["PATH"]}  # a daemon is no process of the job's
    subprocess.Popen(argv, stdin=-3, stdout=-3, stderr=-3, env=own, start_new_session=True)
    return str(number)


def write(folder: Path, **facts: object) -> None:
    if (folder / "job").exists():
        facts = {**json.loads((folder / "job").read_bytes()), **facts}
    (folder / "new").write_text(json.dumps(facts))
    (folder / "new").replace(folder / "job")


def read(number: str) -> dict[str, object] | None:
    try:
        facts = json.loads((ROOT / number / "job").read_bytes())
    except OSError:
        return None
    return None if facts["state"] == "ended" and (ROOT / "no-history").exists() else facts


def run(folder: Path) -> None:
    """Be the daemon of one job: start it, see it end, and have it killed if it does not after being told to."""
    gone = folder / "deleted"
    time.sleep(0.15)
    while not gone.exists() and ((ROOT / "hold").exists() or json.loads((folder / "job").read_bytes()).get("never")):
        time.sleep(0.05)
    if gone.exists():
        write(folder, state="ended", code=None)
        return
    env = dict(item.split(b"=", 1) for item in (folder / "environ").read_bytes().split(b"\0"))
    env.update({b"PBS_JOBID": f"{folder.name}.sim".encode(), b"LSB_JOBID": folder.name.encode()})
    job = subprocess.Popen(["/bin/bash", str(folder / "script")], stdin=-3, stdout=-3, stderr=-3, env=env, cwd="/",
                           start_new_session=True)  # fmt: skip
    write(folder, state="running", pid=job.pid)
    while job.poll() is None:
        time.sleep(0.02)
        if gone.exists() and time.time() - gone.stat().st_mtime > KILL_DELAY:
            os.killpg(job.pid, signal.SIGKILL)
    write(folder, state="ended", code=job.returncode if job.returncode >= 0 else 256 - job.returncode)


def delete(number: str) -> str:
    facts = read(number)
    if facts is None or facts["state"] == "ended":
        return "unknown" if facts is None else "finished"
    (ROOT / number / "deleted").touch()
    if facts["state"] == "running":
        os.killpg(int(str(facts["pid"])), signal.SIGTERM)
    return ""


def qsub(arguments: list[str]) -> None:
    script = sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
    facts: dict[str, object] = {}
    for key, value in options(script, "#PBS", everywhere=False):
        if key not in PBS_TAKES:
            fail(f"qsub: invalid option -- '{key}'", 2)
        if key == "q" and value != "batch":
            fail("qsub: Unknown queue", 170)
        if key == "N" and not re.fullmatch(r"[A-Za-z][\w.-]{0,14}", value):
            fail("qsub: illegal -N value", 1)
        for name, most in (("ncpus", CPUS), ("ngpus", GPUS), ("ppn", CPUS), ("gpus", GPUS)):
            if key == "l" and (match := re.search(rf"[:=]{name}=(\d+)", value)) and int(match[1]) > most:
                facts["never"] = f"Can Never Run: Insufficient amount of resource: {name} (R: {match[1]} A: {most})"
        facts.setdefault("options", []).append([key, value])  # type: ignore[attr-defined]
    number = add(script, **facts)
    if (ROOT / "slow").exists():
        time.sleep(3)
    print(number + ".sim")


def qstat(arguments: list[str]) -> None:
    if arguments == ["-B", "-f"]:
        print(f"Server: {ROOT.name}\n    server_state = Active")
        return
    assert arguments[:4] == ["-f", "-F", "json", "-x"], arguments
    jobs, bad = {}, []
    for jobid in arguments[4:]:
        facts = read(jobid.removesuffix(".sim"))
        if facts is None:
            bad.append(jobid)
            continue
        entry = {"Job_Name": "x", "job_state": {"queued": "Q", "running": "R", "ended": "F"}[str(facts["state"])]}
        if facts["state"] == "ended" and facts["code"] is not None:
            entry["Exit_status"] = facts["code"]  # type: ignore[assignment]
        if facts.get("never"):
            entry["comment"] = str(facts["never"])
        jobs[jobid] = entry
    print(json.dumps({"timestamp": 1, "pbs_version": "2021.1", "pbs_server": "sim", "Jobs": jobs}))
    if bad:
        fail("\n".join(f"qstat: Unknown Job Id {jobid}" for jobid in bad), 153)


def qdel(arguments: list[str]) -> None:
    if why := delete(arguments[0].removesuffix(".sim")):
        fail(f"qdel: {'Unknown Job Id' if why == 'unknown' else 'Job has finished'} {arguments[0]}", 153)


def bsub(arguments: list[str]) -> None:
    script = sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
    for key, value in options(script, "#BSUB", everywhere=True):
        if key not in LSF_TAKES:
            fail(f"bsub: unknown option -{key}. Job not submitted.", 255)
        if key == "q" and value != "normal":
            fail(f"{value}: No such queue. Job not submitted.", 255)
        if key == "W" and not re.fullmatch(r"(\d+:)?\d+", value):
            fail(f"{value}: Illegal RUNLIMIT. Job not submitted.", 255)
        if key == "n" and int(value) > CPUS:
            fail("Too many processors requested. Job not submitted.", 255)
        if key == "R" and "'" in value:
            fail(f'Bad resource requirement syntax "{value}". Job not submitted.', 255)
    print(f"Job <{add(script)}> is submitted to queue <normal>.")


def bjobs(arguments: list[str]) -> None:
    assert arguments[0] == "-o" and arguments[2:4] == ["-json", "-a"], arguments
    records, code = [], 0
    for number in arguments[4:]:
        facts = read(number)
        if facts is None:
            records.append({"JOBID": number, "ERROR": f"Job <{number}> is not found"})
            code = 255
            continue
        state = {"queued": "PEND", "running": "RUN", "ended": "EXIT"}[str(facts["state"])]
        if facts["state"] == "ended" and facts["code"] == 0:
            state = "DONE"
        why = "TERM_OWNER: job killed by owner" if (ROOT / number / "deleted").exists() else ""
        records.append({"JOBID": number, "STAT": state, "EXIT_REASON": why, "KILL_REASON": "", "SUSPEND_REASON": ""})
    print(json.dumps({"COMMAND": "bjobs", "JOBS": len(records), "RECORDS": records}, indent=2))
    raise SystemExit(code)


def lsid(arguments: list[str]) -> None:
    print(f"IBM Spectrum LSF 10.1.0.0\n\nMy cluster name is {ROOT.name}\nMy master name is here")


def bkill(arguments: list[str]) -> None:
    if why := delete(arguments[0]):
        fail(
            f"Job <{arguments[0]}>: {'No matching job found' if why == 'unknown' else 'Job has already finished'}", 255
        )
    print(f"Job <{arguments[0]}> is being terminated")


if __name__ == "__main__":
    name = Path(sys.argv[0]).name
    if sys.argv[1:2] == ["--run"]:
        run(Path(sys.argv[2]))
    elif (ROOT / "down").exists():
        fail(f"{name}: cannot connect to server sim (errno=111)", 111)
    else:
        globals()[name](sys.argv[1:])
