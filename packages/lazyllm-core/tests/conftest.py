"""A server that answers as it is told, for tests of the client."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class Double:
    """Answers on 127.0.0.1. `answers[path]` is a value (sent as JSON), bytes (sent as they are) or a function of the
    request's body; a (status, value) pair sets the status. `seen` holds (path, body, headers) of each
    request, `headers` the latest."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {"/v1/models": {"object": "list", "data": [{"id": "tiny"}]}}
        self.seen: list[tuple[str, Any, dict[str, str]]] = []
        self.headers: dict[str, str] = {}
        self.connections = 0
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                double.connections += 1
                super().setup()

            def log_message(self, *args: Any) -> None: ...

            def answer(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(size)) if size else None
                double.headers = dict(self.headers)
                double.seen.append((self.path, body, double.headers))
                found = double.answers.get(self.path, (404, {"error": {"message": f"no {self.path} here"}}))
                if isinstance(found, Callable):
                    found = found(body)
                status, value = found if isinstance(found, tuple) else (200, found)
                raw = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST = answer

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that left is no fault
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def requests(self, path: str) -> list[Any]:
        return [body for seen, body, _ in self.seen if seen == path]


def events(*values: Any, done: bool = True) -> bytes:
    """Return a server-sent event stream of JSON values."""
    lines = [f"data: {json.dumps(value)}\n\n" for value in values]
    return "".join([*lines, "data: [DONE]\n\n" if done else ""]).encode()


@pytest.fixture
def double() -> Iterator[Double]:
    made = Double()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def sse() -> Callable[..., bytes]:
    return events


@pytest.fixture(scope="session")
def shout() -> type:
    """`deploy.shout`, an engine with a protocol of its own."""
    from lazyllm.components import LazyLLMDeployBase

    class ShoutDeploy(LazyLLMDeployBase):
        message_format = {"text": "Who are you ?", "parameters": {"max_new_tokens": 10, "stop_words": None}}
        keys_name_handle = {"inputs": "text", "stop": "stop_words"}

        @staticmethod
        def extract_result(text: str, inputs: Any) -> str:
            return str(json.loads(text)["answer"])

        @staticmethod
        def stream_parse_parameters() -> dict[str, Any]:
            return {"delimiter": b"\0"}

        @staticmethod
        def stream_url_suffix() -> str:
            return "_stream"

    return ShoutDeploy
