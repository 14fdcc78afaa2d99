"""A simulated Ray head: the part of the dashboard's HTTP that the launcher uses, as Ray 2.60's source has it.

Written from ray/dashboard/modules/job/{job_head,job_manager,job_supervisor,common}.py, modules/state/state_head.py and
modules/reporter/reporter_head.py. It is no Ray: nothing is scheduled, and the tests marked `ray` hold the launcher
against the real one. With `runs` it starts entrypoints as Ray's supervisor does: a shell in a session of its own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lazyllm.jobs import runner

NODE = "ca64598faa5f7312"
DUPLICATE = """Traceback (most recent call last):
  File "job_head.py", line 419, in submit_job
    resp = await job_agent_client.submit_job_internal(submit_request)
RuntimeError: Request failed with status code 400: Traceback (most recent call last):
ValueError: Job with submission_id {} already exists. Please use a different submission_id.
.
"""


class Double:
    """What a head knows, and what it is told to do wrong."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.nodes = [{"node:__internal_head__": 1.0, "CPU": 8.0, "GPU": 8.0, "memory": 16e9, "a100": 2.0}]
        self.types: dict[str, str] | None = {NODE: f"node_{NODE}"}
        self.answers: dict[str, list[tuple[int, str] | None]] = {}  # path → what to say instead; None: hang up
        self.lost = 0  # so many submissions are accepted without an answer
        self.token = ""
        self.runs = False
        self.requests: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        self.bodies: list[dict[str, Any]] = []
        self.stopped: list[str] = []
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"double": self}))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        for child in self.children.values():
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()

    def row(self, job_id: str, status: str = "PENDING", **more: Any) -> dict[str, Any]:
        """Put a job in the list, or change it."""
        row = self.jobs.setdefault(
            job_id,
            {
                "type": "SUBMISSION", "job_id": None, "submission_id": job_id, "driver_info": None, "entrypoint": "",
                "message": "", "error_type": None, "start_time": int(time.time() * 1000), "end_time": None,
                "metadata": None, "runtime_env": None, "driver_agent_http_address": None, "driver_node_id": None,
                "driver_exit_code": None,
            },
        )  # fmt: skip
        row.update(status=status, **more)
        return row

    def end(self, job_id: str, status: str, **more: Any) -> None:
        self.row(job_id, status, end_time=int(time.time() * 1000) - 60_000, **more)

    def submit(self, body: dict[str, Any]) -> tuple[int, str]:
        self.bodies.append(body)
        job_id = body["submission_id"]
        if job_id in self.jobs:
            return 500, DUPLICATE.format(job_id)
        self.row(job_id, entrypoint=body["entrypoint"], metadata=body["metadata"], runtime_env=body["runtime_env"])
        if self.runs:
            threading.Thread(target=self._supervise, args=(job_id, body), daemon=True).start()
        return 200, json.dumps({"job_id": job_id, "submission_id": job_id})

    def _supervise(self, job_id: str, body: dict[str, Any]) -> None:
        env = {**os.environ, **body["runtime_env"]["env_vars"], "RAY_ADDRESS": "10.0.0.1:6379", "PYTHONPATH": "/ray"}
        child = subprocess.Popen(body["entrypoint"], shell=True, start_new_session=True, env=env, cwd="/")
        self.children[job_id] = child
        self.row(job_id, "RUNNING")
        code = child.wait()
        if job_id in self.stopped:
            self.row(job_id, "STOPPED", end_time=int(time.time() * 1000))
        else:
            kind = "JOB_ENTRYPOINT_COMMAND_ERROR" if code else None
            message = f"Job entrypoint command failed with exit code {code}. No logs available."
            ended = {"end_time": int(time.time() * 1000), "driver_exit_code": code, "error_type": kind}
            self.row(job_id, "FAILED" if code else "SUCCEEDED", message=message if code else "", **ended)

    def stop(self, job_id: str) -> tuple[int, str]:
        """As the supervisor does it: a signal to the entrypoint and to each of its descendants."""
        if job_id not in self.jobs:
            return 404, f"Job {job_id} does not exist"
        self.stopped.append(job_id)
        child = self.children.get(job_id)
        for pid in descendants(child.pid) if child and child.poll() is None else ():
            os.kill(pid, signal.SIGTERM)
        return 200, json.dumps({"stopped": self.jobs[job_id]["status"] in ("PENDING", "RUNNING")})


def descendants(pid: int) -> list[int]:
    table, found = runner.processes(), [pid]
    for one in found:
        found += [child for child, (parent, _, _) in table.items() if parent == one]
    return found


class _Handler(BaseHTTPRequestHandler):
    double: Double

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _serve(self, body: bytes) -> None:
        double, path = self.double, self.path.partition("?")[0]
        key = f"{self.command} {path}"
        double.requests[key] += 1
        double.headers.append(dict(self.headers))
        if double.token and self.headers.get("Authorization") != f"Bearer {double.token}":
            missing = "Authorization" not in self.headers
            self._say(401 if missing else 403, "Unauthorized: Missing authentication token" if missing else "Forbidden")
            return
        if planned := double.answers.get(key):
            answer = planned.pop(0) if len(planned) > 1 else planned[0]
            if answer is not None:
                self._say(*answer)
            return
        status, text = self._answer(path, body)
        if key == "POST /api/jobs/" and double.lost:
            double.lost -= 1
            return
        self._say(status, text)

    def _answer(self, path: str, body: bytes) -> tuple[int, str]:
        double, (_, _, *rest) = self.double, path.split("/")
        if path == "/api/jobs/":
            return double.submit(json.loads(body)) if body else (200, json.dumps(list(double.jobs.values())))
        if rest[0] == "jobs" and rest[-1] == "stop":
            return double.stop(rest[1])
        if rest[0] == "jobs":
            row = double.jobs.get(rest[1])
            return (200, json.dumps(row)) if row else (404, f"Job {rest[1]} does not exist")
        if path == "/api/version":
            return 200, json.dumps({"version": "4", "ray_version": "2.60.0", "session_name": "session_1"})
        if path == "/api/v0/nodes":
            rows = [{"node_id": NODE, "state": "ALIVE", "resources_total": total} for total in double.nodes]
            return 200, json.dumps({"result": True, "msg": "", "data": {"result": {"result": rows}}})
        if path == "/api/cluster_status":
            report = {"nodeTypeMapping": double.types, "pendingNodes": [], "pendingLaunches": {}}
            status = {"autoscalerReport": report} if double.types is not None else None
            return 200, json.dumps({"result": True, "msg": "", "data": {"clusterStatus": status}})
        return 404, "404: Not Found"

    def _say(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
