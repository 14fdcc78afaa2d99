"""The simulated tools: each checks its words as the real one would, and answers from the world's files."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from .world import ENDS, Job, World


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def refuse(text: str) -> NoReturn:
    sys.stderr.write(f"Error: {text}\n")
    sys.exit(1)


class Options:
    """Options as Go and C programs take them: `--name value`, `--name=value`; `words` are what is left."""

    def __init__(
        self, argv: list[str], known: tuple[str, ...], flags: tuple[str, ...] = (), words: bool = False
    ) -> None:
        self.given: dict[str, str] = {}
        self.words: list[str] = []
        rest = list(argv)
        while rest:
            name, has_value, value = rest.pop(0).partition("=")
            if name in flags and not has_value:
                self.given[name] = name
            elif name in known and (has_value or rest):
                self.given[name] = value if has_value else rest.pop(0)
            elif words and not name.startswith("-"):
                self.words.append(name + has_value + value)
            else:
                refuse(f"unknown flag or missing argument: {name}")

    def __getitem__(self, name: str) -> str:
        return self.given.get(name, "")


def follow(world: World, jobid: str) -> Job:
    """Print what a job prints until its end; return the job as it was last."""
    place, job = 0, world.job(jobid)
    while True:
        ended = job["state"] in ENDS
        log: Path = world.log(jobid)
        if log.exists():
            with log.open("rb") as file:
                file.seek(place)
                text = file.read()
            place += len(text)
            sys.stdout.buffer.write(text)
            sys.stdout.flush()
        if ended:
            return job
        time.sleep(0.03)
        job = world.job(jobid) or {**job, "state": "SUSPENDED"}


def srun(world: World, argv: list[str]) -> int:
    older = world.knob("generation") == "older"
    if "--help" in argv:
        say(
            "Usage: srun [options] command\n  -p, --partition\n  --workspace-id\n  --job-name\n  -f  -r  -N  --priority"
        )
        if older:
            say("  -m, --mpi\n  -d, --distributed AllReduce|ParameterServer")
        return 0
    known = ("-p", "--workspace-id", "--job-name", "-f", "-r", "-N", "--priority")
    at = next((i for i, word in enumerate(argv) if word == "bash"), len(argv)) if older else len(argv) - 1
    given = Options(argv[:at], (*known, "-d") if older else known, ("-m",) if older else ())
    words = argv[at:]
    nodes = int(given["-N"] or 1)
    if older:
        if words[:2] != ["bash", "-c"] or len(words) != 3:
            refuse("the command must be given as bash -c 'COMMAND'")
        if bool(given["-m"]) == bool(given["-d"]) or bool(given["-m"]) != (nodes == 1):
            refuse("use -m on one node, -d AllReduce on several")
    check_place(world, given["--workspace-id"], given["-p"])
    check_size(world, given["-r"], nodes)
    run = words if older else ["sh", "-c", words[0]]
    job = world.add(workspace=given["--workspace-id"], display_name=given["--job-name"], nodes=nodes, argv=run)
    begin(world, job)
    return 0 if follow(world, job["name"])["state"] == "SUCCEEDED" else 1


def begin(world: World, job: Job) -> None:
    from .daemon import spawn  # only who submits has to wait for its imports

    spawn(world, job["name"])


def check_place(world: World, workspace: str, partition: str) -> None:
    if workspace not in world.knob("workspaces"):
        refuse(f"workspace {workspace} not found or permission denied")
    if partition not in world.knob("partitions"):
        refuse(f"partition {partition} does not exist in workspace {workspace}")
    if words := world.knob("refuse"):
        refuse(words)


def check_size(world: World, spec: str, nodes: int) -> None:
    gpus = spec.rpartition(".")[2]
    if gpus.isdecimal() and int(gpus) > world.knob("gpus"):
        refuse(f"resource spec {spec} not found: a node has at most {world.knob('gpus')} GPUs")
    if nodes > world.knob("nodes"):
        refuse(f"quota exceeded: {nodes} nodes requested, at most {world.knob('nodes')}")


def squeue(world: World, argv: list[str]) -> int:
    given = Options(argv, ("--workspace-id", "-o"))
    columns, shown = {"jobname": "display_name", "jobid": "name"}, given["-o"].split(",")
    rows = [[name.upper() for name in shown]]
    rows += [[str(job[columns[name]]) for name in shown] for job in world.listed(given["--workspace-id"])]
    say("\n".join("".join(cell.ljust(40) for cell in row) for row in rows))
    return 0


def told(world: World, job: Job) -> str:
    return str(world.knob("state") or job["state"])


def scontrol(world: World, argv: list[str]) -> int:
    given = Options(argv, ("--workspace-id",), words=True)
    words = given.words
    job = next((job for job in world.listed(given["--workspace-id"]) if words == ["show", "job", job["name"]]), None)
    if world.knob("text"):
        say("the service is being upgraded, try again later")
    elif job is None:
        refuse(f"job {words[-1]} not found")
    else:
        key = "status_phase" if world.knob("generation") == "older" else "state"
        say(json.dumps({"jobid": job["name"], "jobname": job["display_name"], key: told(world, job)}, indent=2))
    return 0


def drop(world: World, job: Job, what: str) -> None:
    if job["state"] in ENDS and what == "delete":
        (world.jobs / f"{job['name']}.json").unlink(missing_ok=True)
    else:
        world.tell(job["name"], what)


def scancel(world: World, argv: list[str]) -> int:
    given = Options(argv, ("--workspace-id",), words=True)
    words = given.words
    job = world.job(words[-1])
    if not job or job["workspace"] != given["--workspace-id"]:
        refuse(f"job {words[-1]} not found")
    if world.take("deaf"):
        say("the request is being processed")
        return 0
    drop(world, job, "delete")
    say(f"success scancel {words[-1]}")
    return 0


SHORT = {"-p": "--aec2-name", "-j": "--job-name", "-f": "--training-framework", "-N": "--worker-nodes"}
NEEDED = ("--job-name", "--container-image-url", "--training-framework", "--worker-spec", "--command")
CREATE = (
    *NEEDED, *SHORT.values(), "--workspace-name", "--priority", "--quota-type", "--storage-mount", "--env",
)  # fmt: skip


def sco(world: World, argv: list[str]) -> int:
    if argv[:2] != ["acp", "jobs"]:
        refuse(f'unknown command "{" ".join(argv[:2])}" for "sco"')
    verb, rest = argv[2], argv[3:]
    if verb == "create":
        return create(world, rest)
    given = Options(rest, ("--workspace-name", "--page-size", "-o", "--worker-name"), ("--follow",), words=True)
    words, workspace = given.words, given["--workspace-name"]
    if workspace not in world.knob("workspaces"):
        refuse(f"workspace {workspace} not found or permission denied")
    if verb == "list":
        jobs = world.listed(workspace)[: int(given["--page-size"] or 10)]
        say("upgrading, try again later" if world.knob("text") else json.dumps([shown(world, job) for job in jobs]))
        return 0
    job = world.job(words[-1])
    if not job or job["workspace"] != workspace:
        refuse(f"training job {words[-1]} not found")
    if verb == "describe":
        say("upgrading, try again later" if world.knob("text") else json.dumps(shown(world, job)))
    elif verb == "stream-logs":
        log = world.log(job["name"])
        if given["--follow"]:
            follow(world, job["name"])
        elif log.exists():
            say(log.read_text(errors="replace"))
    elif verb in ("stop", "delete"):
        if not world.take("deaf"):
            drop(world, job, verb)
        say(f"job {job['name']} {verb} request submitted")
    else:
        refuse(f'unknown command "{verb}" for "sco acp jobs"')
    return 0


def shown(world: World, job: Job) -> dict[str, Any]:
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(job["create_time"]))
    return {"name": job["name"], "display_name": job["display_name"], "state": told(world, job), "create_time": created}


def create(world: World, argv: list[str]) -> int:
    given = Options([SHORT.get(word, word) for word in argv], CREATE)
    for name in NEEDED:
        if not given[name]:
            refuse(f"required flag {name} not set")
    check_place(world, given["--workspace-name"], given["--aec2-name"])
    check_size(world, given["--worker-spec"], int(given["--worker-nodes"] or 1))
    job = world.add(
        workspace=given["--workspace-name"], display_name=given["--job-name"],
        nodes=int(given["--worker-nodes"] or 1), argv=["sh", "-c", given["--command"]],
    )  # fmt: skip
    begin(world, job)
    say(f"job {job['name']} submitted successfully")
    return 0


def main(tool: str, folder: str, argv: list[str]) -> None:
    world = World(folder)
    world.called([tool, *argv])
    verb = argv[2] if tool == "sco" and len(argv) > 2 else tool
    if world.take("hang", verb) or (verb != tool and world.take("hang", tool)):
        time.sleep(120)
    if words := world.knob("down"):
        refuse(words)
    if world.knob("credentials") == "expired" and "--help" not in argv:
        refuse("authentication failed: access token has expired (401)")
    sys.exit({"srun": srun, "squeue": squeue, "scontrol": scontrol, "scancel": scancel, "sco": sco}[tool](world, argv))
