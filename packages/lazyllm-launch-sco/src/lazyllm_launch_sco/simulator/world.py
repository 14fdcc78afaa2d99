"""What the simulated SenseCore knows: its settings, its jobs, and the calls of its tools. All are files."""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from pathlib import Path
from typing import Any

KNOBS: dict[str, Any] = {
    "generation": "older",
    "workspaces": ["space"],
    "partitions": ["part"],
    "nodes": 16,  # as many as a job may have
    "gpus": 8,  # as many as a node has
    "queue": 0.0,  # seconds in QUEUEING
    "create": 0.0,  # seconds in CREATING
    "listed_after": 0.0,  # seconds until a job is listed
    "grace": 3.0,  # seconds between TERM and KILL
    "credentials": "",  # "expired": every call is refused
    "refuse": "",  # the words with which submissions are refused
    "down": "",  # the words with which every call fails
    "text": False,  # queries answer with text that is no JSON
    "state": "",  # the state that every query tells
    "hang": {},  # {tool or verb: so many calls that do not return}
    "deaf": 0,  # so many calls of scancel or stop that do nothing
    "hostnames": False,  # nodes have host names of their own, where this user may do that
}
TOOLS = {"older": ("srun", "squeue", "scontrol", "scancel"), "acp": ("sco",)}
TOOLS["newer"] = TOOLS["older"]
ENDS = ("SUCCEEDED", "FAILED", "SUSPENDED")

Job = dict[str, Any]


def write_json(path: Path, data: object) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(data))
    temporary.replace(path)


class World:
    """One simulated SenseCore."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).absolute()
        self.jobs = self.folder / "jobs"

    def setup(self, generation: str = "older", **knobs: Any) -> str:
        """Make the folder, with a `bin` of the generation's tools; return the path of that."""
        bin_folder = self.folder / "bin"
        for made in (self.jobs, bin_folder):
            made.mkdir(parents=True, exist_ok=True)
        self.control(generation=generation, **knobs)
        source = str(Path(__file__).parents[2])
        for tool in TOOLS[generation]:
            script = bin_folder / tool
            script.write_text(
                f"#!{sys.executable} -IS\nimport sys\nsys.path.insert(0, {source!r})\n"
                "from lazyllm_launch_sco.simulator.tools import main\n"
                f"main({tool!r}, {str(self.folder)!r}, sys.argv[1:])\n"
            )
            script.chmod(script.stat().st_mode | stat.S_IXUSR)
        return str(bin_folder)

    def knob(self, name: str) -> Any:
        return {**KNOBS, **self._read(self.folder / "control.json")}[name]

    def control(self, **knobs: Any) -> None:
        """Change settings."""
        if unknown := set(knobs) - set(KNOBS):
            raise ValueError(f"no such knob: {sorted(unknown)}; there are {sorted(KNOBS)}")
        write_json(self.folder / "control.json", {**self._read(self.folder / "control.json"), **knobs})

    def take(self, knob: str, key: str = "") -> bool:
        """Say whether a countdown is above 0, and count it down."""
        held = self.knob(knob)
        count = held.get(key, 0) if isinstance(held, dict) else held
        if count > 0:
            self.control(**{knob: {**held, key: count - 1} if isinstance(held, dict) else count - 1})
        return bool(count > 0)

    def called(self, argv: list[str]) -> None:
        with (self.folder / "calls.log").open("a") as file:
            file.write(json.dumps(argv) + "\n")

    def calls(self, *first: str) -> list[list[str]]:
        """Return the calls of tools so far whose words begin with `first`."""
        log = self.folder / "calls.log"
        every = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return [argv for argv in every if argv[: len(first)] == list(first)]

    @staticmethod
    def _read(path: Path) -> Job:
        try:
            return dict(json.loads(path.read_text()))
        except (OSError, ValueError):
            return {}

    def add(self, **facts: Any) -> Job:
        jobid = "pt-" + os.urandom(5).hex()[:8]
        job = {"name": jobid, "create_time": time.time(), "state": "INIT", "code": None, **facts}
        write_json(self.jobs / f"{jobid}.json", job)
        return job

    def job(self, jobid: str) -> Job:
        """Return a job; empty if there is none."""
        return self._read(self.jobs / f"{jobid}.json") if "/" not in jobid else {}

    def change(self, jobid: str, **facts: Any) -> None:
        if job := self.job(jobid):
            write_json(self.jobs / f"{jobid}.json", {**job, **facts})

    def every(self, workspace: str | None = None) -> list[Job]:
        found = [self._read(path) for path in self.jobs.glob("pt-*.json")]
        return [job for job in found if job and workspace in (None, job["workspace"])]

    def listed(self, workspace: str) -> list[Job]:
        """Return the jobs of a workspace that are listed by now."""
        late = time.time() - float(self.knob("listed_after"))
        return [job for job in self.every(workspace) if job["create_time"] <= late]

    def log(self, jobid: str) -> Path:
        return self.jobs / f"{jobid}.log"

    def tell(self, jobid: str, what: str) -> None:
        """Tell a job's daemon: `stop`, `delete`, `suspend` or `restart`."""
        (self.jobs / f"{jobid}.{what}").touch()

    def told(self, jobid: str, *what: str) -> str:
        """Return which of `what` a job's daemon was told, and forget it."""
        for word in what:
            path = self.jobs / f"{jobid}.{word}"
            if path.exists():
                path.unlink()
                return word
        return ""

    def end(self) -> None:
        """Kill all that runs here."""
        for job in self.every():
            if job["state"] not in ENDS:
                self.tell(job["name"], "kill")
        end = time.monotonic() + 5
        while any(job["state"] not in ENDS for job in self.every()) and time.monotonic() < end:
            time.sleep(0.02)
