"""Small programs that jobs of the conformance tests run, as argv lists; standard library alone."""

from __future__ import annotations

import sys

from ..jobs.command import Arg, Command, Ref, Service, Step

HOSTILE = (
    "a b", "'single' \"double\"", "$(touch pwned) `touch pwned` ${HOME} $HOME", "new\nline\r\ttab", "🤖 é \u202e", "-x",
    "--", "", "*?[a]", "{a,b}", "\\ \\n", "!history", "#!/bin/sh", ";&|<>", "%j %%", "~", "\udcff\udcfe", "a" * 50_000,
)  # fmt: skip
"""Arguments that a careless launcher changes: the last but one are bytes that no encoding has."""


def python(program: str, *arguments: Arg) -> tuple[Arg, ...]:
    """Return the argv that runs a program text."""
    return (sys.executable, "-I", "-S", "-c", program, *arguments)


ECHO = "import os, sys; sys.stdout.buffer.write(b'\\0'.join(map(os.fsencode, sys.argv[1:])))"
"""Writes its arguments, with NUL between them."""

TICKS = "import time\nfor i in range(3): print(time.time(), flush=True); time.sleep(0.4)"

LIVES_ON = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
wait = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)"
child = subprocess.Popen([sys.executable, "-c", wait], start_new_session=True)
time.sleep(0.3)
print(os.getpid(), child.pid, flush=True)
time.sleep(300)
"""
"""Ignores SIGTERM, as does its child in a session of its own; writes both PIDs."""

SERVE = """
import http.server, os, sys
key = os.environ.get("LAZYLLM_API_KEY")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        known = self.path == "/health" or not key or self.headers.get("Authorization") == "Bearer " + key
        body = sys.argv[3].encode() if known else b"{}"
        self.send_response(200 if known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
"""
"""Serves its third argument; whoever has not the key in LAZYLLM_API_KEY, if there is one, gets 401."""


def server(answer: str) -> Command:
    """Return the command that serves `answer` below /v1."""
    step = Step(python(SERVE, Ref("host"), Ref("port", "port"), answer), "serve")
    return Command((step,), ports={"port": None}, service=Service(timeout=60))
