"""HTTP of the clients: connections, timeouts, what is no URL, and an environment that no connection can be made in."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lazyllm.client.openai import OpenAIClient
from lazyllm.client.transport import Transport
from lazyllm.errors import InputError, ServiceError

PROXIES = ("all_proxy", "http_proxy", "https_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x1c"])
def test_a_stream_may_hold_what_splits_lines(double: Any, separator: str) -> None:
    text = f"one{separator}two"
    double.answers["/v1/completions"] = (
        f'data: {{"choices": [{{"text": "{text}"}}]}}\r\n\r\ndata: [DONE]'.encode()
        if separator > "\x7f"
        else b'data: {"choices": [{"text": "one\\u%04xtwo"}]}\n\ndata: [DONE]\n\n' % ord(separator)
    )
    assert list(OpenAIClient(double.url, model="m").stream("go")) == [text]


def test_a_stream_that_comes_in_pieces(double: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    double.answers["/v1/completions"] = 'data: {"choices": [{"text": "ü"}]}\n\ndata: [DONE]\n\n'.encode()
    whole = httpx.Response.iter_bytes
    monkeypatch.setattr(httpx.Response, "iter_bytes", lambda self: whole(self, 1))
    assert list(OpenAIClient(double.url, model="m").stream("go")) == ["ü"]


def test_a_forked_process_has_connections_of_its_own(double: Any) -> None:
    double.answers["/v1/completions"] = lambda body: {"choices": [{"text": body["prompt"]}]}
    client = OpenAIClient(double.url)
    assert client.ask("parent") == "parent" and double.connections == 1
    before = client._http.client
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = client.ask("child")
            client.close()
            os.write(writer, f"{answer} {client._http.client is before}".encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 99) == b"child False" and double.connections == 2
    assert client.ask("again") == "again" and double.connections == 2, "the parent's connection was left open"
    os.close(reader)
    os.close(writer)


def test_many_threads_reuse_their_connections(double: Any) -> None:
    threads = 25
    together = threading.Barrier(threads)
    double.answers["/v1/completions"] = lambda body: (together.wait(20) and {}) or {"choices": [{"text": "x"}]}
    double.server.request_queue_size = threads
    client = OpenAIClient(double.url, model="m")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(3):
            assert list(pool.map(client.ask, ["q"] * threads)) == ["x"] * threads
    assert double.connections == threads


@pytest.fixture
def deaf() -> Iterator[str]:
    """The URL of a server that takes no connection: its queue is full."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        held = [socket.socket() for _ in range(4)]
        for waiting in held:
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        for waiting in held:
            waiting.close()


def test_connecting_takes_no_longer_than_the_timeout(deaf: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = time.monotonic()
    with pytest.raises(ServiceError, match=r"No server answers at .*: no connection within 0\.3 s"):
        OpenAIClient(deaf, model="m", timeout=0.3).ask("hi")
    assert time.monotonic() - begun < 1.5
    monkeypatch.setattr("lazyllm.client.transport.CONNECT_TIMEOUT", 0.2)
    with pytest.raises(ServiceError, match=r"no connection within 0\.2 s"):
        OpenAIClient(deaf, model="m", timeout=None).ask("hi")


def test_tries_share_the_time() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url, begun = f"http://127.0.0.1:{held.getsockname()[1]}/v1", time.monotonic()
        with pytest.raises(ServiceError, match="No server answers"):
            OpenAIClient(url, model="m", timeout=0.2).ask("go")
        assert time.monotonic() - begun < 0.5


@pytest.mark.parametrize("timeout", [float("inf"), float("nan"), 10**12, 10**400])
def test_a_timeout_is_what_can_be_waited(double: Any, timeout: Any) -> None:
    with pytest.raises(InputError, match="expected seconds, above 0 and at most 2,147,483, or None"):
        OpenAIClient(double.url, timeout=timeout)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:abc/v1",
        "http://127.0.0.1:99999/v1",
        "http://127.0.0.1:0/v1",
        "http://[::1/v1",
        "http://a..b/v1",
        f"http://{'a' * 300}/v1",
        "http://127.0.0.1/\x00",
    ],
)
def test_a_url_that_no_server_can_have(url: str) -> None:
    with pytest.raises(InputError, match=r"no URL of a server: .*expected http://HOST:PORT/PATH"):
        Transport(url)


def test_a_key_is_text() -> None:
    with pytest.raises(InputError, match="api_key is a text, not of type int") as caught:
        OpenAIClient("http://127.0.0.1:1/v1", api_key=123)  # type: ignore[arg-type]
    assert "123" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "url"),
    [
        ("all_proxy", "socks://127.0.0.1:1", "http://example.test/v1"),
        ("NO_PROXY", "[::1]", "http://example.test/v1"),
        ("SSL_CERT_FILE", "/no/such/file", "https://example.test/v1"),
    ],
)
def test_an_environment_without_a_way_is_named(
    name: str, value: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=f"(?s)Connections to {url} cannot be set up: .*Look at {name} in the env"):
        Transport(url).fetch("GET", "/models")


def test_certificates_are_read_for_https_alone(double: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file")
    assert Transport("http://example.test/v1").client is not None
    assert OpenAIClient(double.url).models() == ["tiny"]


def test_an_answer_that_cannot_be_decoded_is_an_error_in_words(double: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    def broken(self: Any) -> Any:
        raise httpx.DecodingError("Error -3 while decompressing data", request=self.request)

    monkeypatch.setattr(httpx.Response, "read", broken)
    with pytest.raises(ServiceError, match="The connection to .* broke: Error -3"):
        Transport(double.url).fetch("GET", "/models")


def served(double: Any, name: str, sse: Any) -> None:
    """Have the double serve the model `name`, and no other."""
    double.answers["/v1/models"] = {"object": "list", "data": [{"id": name}]}
    other = (404, {"error": {"message": "no such model"}})

    def answer(body: Any) -> Any:
        if body["model"] != name:
            return other
        choice = {"choices": [{"text": name}]}
        return sse(choice) if body.get("stream") else choice

    double.answers["/v1/completions"] = answer


def test_a_model_that_was_looked_up_is_looked_up_again(double: Any, sse: Any) -> None:
    served(double, "first", sse)
    client, named = OpenAIClient(double.url), OpenAIClient(double.url, model="first")
    assert client.ask("go") == named.ask("go") == "first"
    served(double, "second", sse)
    assert client.ask("go") == "second" and client.model == "second"
    served(double, "third", sse)
    assert list(client.stream("go")) == ["third"]
    for ask in (named.ask, lambda prompt: client.ask(prompt, model="first")):
        double.seen.clear()
        with pytest.raises(ServiceError, match="404: no such model"):
            ask("go")
        assert len(double.seen) == 1, "a name that was given is not replaced"
    double.answers["/v1/completions"] = (404, {"error": {"message": "nothing here"}})
    double.seen.clear()
    with pytest.raises(ServiceError, match="404: nothing here"):
        client.ask("go")
    assert [path for path, *_ in double.seen] == ["/v1/completions", "/v1/models"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_tokens": 1, "max_new_tokens": 2}, "max_tokens and max_new_tokens are one parameter"),
        ({"stop": ["a"], "stop_words": ["b"]}, "stop and stop_words are one parameter"),
        ({"prompt": "other"}, "prompt= is no parameter of a request"),
        ({"messages": []}, "messages= is no parameter of a request"),
    ],
)
def test_parameters_that_contradict(double: Any, given: dict[str, Any], said: str) -> None:
    client = OpenAIClient(double.url, model="m")
    for ask in (client.ask, lambda *given, **kw: list(client.stream(*given, **kw))):
        with pytest.raises(InputError, match=said):
            ask("go", **given)
    assert not double.seen
