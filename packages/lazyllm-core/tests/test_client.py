"""The OpenAI client: what it sends, and what it makes of good, bad and broken answers."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

from lazyllm.client.openai import OpenAIClient
from lazyllm.errors import InputError, ServiceError

CHAT = {"messages": [{"role": "user", "content": "hi"}]}


def test_strings_are_completed_and_messages_are_chatted(double: Any) -> None:
    double.answers["/v1/completions"] = {"choices": [{"text": "done"}]}
    double.answers["/v1/chat/completions"] = {"choices": [{"message": {"role": "assistant", "content": "hello"}}]}
    client = OpenAIClient(double.url)
    assert client.ask("go", max_new_tokens=5) == "done"
    assert client.ask(CHAT, temperature=0.5) == "hello"
    assert double.requests("/v1/completions") == [{"model": "tiny", "prompt": "go", "max_tokens": 5}]
    assert double.requests("/v1/chat/completions") == [{"model": "tiny", "temperature": 0.5, **CHAT}]


def test_connections_and_the_models_name_are_reused(double: Any) -> None:
    double.answers["/v1/completions"] = {"choices": [{"text": "x"}]}
    client = OpenAIClient(double.url)
    for _ in range(5):
        client.ask("go")
    assert double.connections == 1
    assert len([path for path, *_ in double.seen if path == "/v1/models"]) == 1


def test_historic_parameter_names(double: Any) -> None:
    path, body = OpenAIClient(double.url, model="m").request("p", {"do_sample": False, "stop_sequences": ["x"]})
    expected = {"model": "m", "temperature": 0, "stop": ["x"], "prompt": "p", "max_tokens": None}
    assert (path, body) == ("/completions", expected)
    assert OpenAIClient(double.url, model="m").request("p", {"max_new_tokens": 9})[1]["max_tokens"] == 9


def test_several_choices_and_tool_calls(double: Any) -> None:
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    double.answers["/v1/completions"] = {"choices": [{"text": "a"}, {"text": "b"}]}
    double.answers["/v1/chat/completions"] = {"choices": [{"message": {"content": None, "tool_calls": calls}}]}
    client = OpenAIClient(double.url)
    assert client.ask("go", n=2) == ["a", "b"]
    assert client.ask(CHAT)["tool_calls"] == calls


def test_streams(double: Any, sse: Any) -> None:
    double.answers["/v1/completions"] = sse({"choices": [{"text": "a"}]}, {"choices": []}, {"choices": [{"text": "ü"}]})
    double.answers["/v1/chat/completions"] = sse(
        {"choices": [{"delta": {"role": "assistant"}}]}, {"choices": [{"delta": {"content": "hi"}}]}
    )
    client = OpenAIClient(double.url)
    assert list(client.stream("go")) == ["a", "ü"]
    assert list(client.stream(CHAT)) == ["hi"]
    assert double.requests("/v1/completions")[0]["stream"] is True


def test_an_error_inside_a_stream_is_an_error(double: Any, sse: Any) -> None:
    double.answers["/v1/completions"] = sse({"choices": [{"text": "a"}]}, {"error": {"message": "engine died"}})
    stream = OpenAIClient(double.url).stream("go")
    assert next(stream) == "a"
    with pytest.raises(ServiceError, match="engine died"):
        next(stream)


def test_a_stream_without_its_end_is_an_error(double: Any, sse: Any) -> None:
    double.answers["/v1/completions"] = sse({"choices": [{"text": "a"}]}, done=False)
    with pytest.raises(ServiceError, match="broke off before its end"):
        list(OpenAIClient(double.url).stream("go"))


def test_the_servers_words_are_passed_on(double: Any) -> None:
    double.answers["/v1/completions"] = (400, {"error": {"message": "temperature must be at least 0"}})
    with pytest.raises(ServiceError, match="answered 400: temperature must be at least 0") as caught:
        OpenAIClient(double.url).ask("go", temperature=-1)
    assert caught.value.status == 400
    double.answers["/v1/completions"] = (401, {"error": {"message": "wrong key"}})
    with pytest.raises(ServiceError, match="LAZYLLM_API_KEY"):
        OpenAIClient(double.url).ask("go")


def test_answers_of_another_protocol_are_refused(double: Any) -> None:
    double.answers["/v1/completions"] = {"text": ["x"]}
    with pytest.raises(ServiceError, match="without choices"):
        OpenAIClient(double.url).ask("go")
    double.answers["/v1/completions"] = b"<html>"
    with pytest.raises(ServiceError, match="something else than JSON"):
        OpenAIClient(double.url).ask("go")


def test_the_key_is_sent_and_never_shown(double: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAZYLLM_API_KEY", "sk-secret")
    double.answers["/v1/completions"] = (500, {"error": {"message": "no"}})
    with pytest.raises(ServiceError) as caught:
        OpenAIClient(double.url).ask("go")
    assert double.seen[-1][2]["Authorization"] == "Bearer sk-secret"
    assert "sk-secret" not in str(caught.value)


def test_the_key_of_ones_own_job_is_found(double: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lazyllm.jobs.manage.key_for", lambda url: "own" if url == double.url else None)
    double.answers["/v1/completions"] = lambda _: (
        {"choices": [{"text": "yes"}]} if double.headers["Authorization"] == "Bearer own" else (401, {})
    )
    client = OpenAIClient(double.url, model="m", api_key="stale")
    assert [client.ask("go"), client.ask("again")] == ["yes", "yes"] and len(double.seen) == 3
    monkeypatch.setattr("lazyllm.jobs.manage.key_for", lambda url: "another")
    double.answers["/v1/completions"] = (401, {"error": {"message": "no such key"}})
    with pytest.raises(ServiceError, match="401: no such key"):
        client.ask("go")
    assert len(double.seen) == 5


@pytest.mark.parametrize("key", ["sk-secret\nx", "sk-secret-ü"])
def test_a_key_that_cannot_be_sent_is_refused_unseen(double: Any, key: str) -> None:
    with pytest.raises(InputError, match="characters that no HTTP header may have") as caught:
        OpenAIClient(double.url, api_key=key)
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize("choices", [[], [{"message": None}], [{}], None])
def test_answers_without_an_answer_are_errors(double: Any, choices: Any) -> None:
    double.answers["/v1/completions"] = {"choices": choices}
    with pytest.raises(ServiceError, match="answered without choices"):
        OpenAIClient(double.url).ask("go")


def test_what_is_no_json_is_not_sent(double: Any) -> None:
    for wrong in (float("nan"), object()):
        with pytest.raises(InputError, match="cannot be written as JSON"):
            OpenAIClient(double.url).ask("go", temperature=wrong)
    assert not double.requests("/v1/completions")


def test_a_request_that_was_sent_is_not_sent_again(double: Any) -> None:
    double.answers["/v1/completions"] = (503, {"error": {"message": "busy"}})
    with pytest.raises(ServiceError):
        OpenAIClient(double.url).ask("go")
    assert len(double.requests("/v1/completions")) == 1


def test_timeouts(double: Any) -> None:
    double.answers["/v1/completions"] = lambda body: time.sleep(1) or {"choices": []}
    with pytest.raises(ServiceError, match=r"did not answer within 0\.2 s"):
        OpenAIClient(double.url).ask("go", timeout=0.2)


def test_nobody_there() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with pytest.raises(ServiceError, match=r"(?s)No server answers at .*lazyllm ps"):
            OpenAIClient(f"http://127.0.0.1:{held.getsockname()[1]}/v1", model="m").ask("go")


@pytest.mark.parametrize("url", ["", "127.0.0.1:80", "ftp://x/v1", "http://", None])
def test_what_is_no_url(url: Any) -> None:
    with pytest.raises(InputError, match="no URL of a server"):
        OpenAIClient(url)


def test_what_is_no_prompt(double: Any) -> None:
    with pytest.raises(InputError, match="a string or a mapping with 'messages'"):
        OpenAIClient(double.url).ask({"mesages": []})


def test_streamed_tool_calls_come_last_and_whole(double: Any, sse: Any) -> None:
    def delta(**fields: Any) -> dict[str, Any]:
        return {"choices": [{"delta": fields}]}

    double.answers["/v1/chat/completions"] = sse(
        delta(role="assistant", content="Let me see. "),
        delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x"'}}]),
        delta(tool_calls=[{"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": ": 1}"}}]),
    )
    *pieces, message = OpenAIClient(double.url).stream(CHAT)
    assert pieces == ["Let me see. "] and (message["role"], message["content"]) == ("assistant", "Let me see. ")
    assert [(c["id"], c["type"], c["function"]) for c in message["tool_calls"]] == [
        ("a", "function", {"name": "f", "arguments": '{"x": 1}'}),
        ("b", "function", {"name": "g", "arguments": "{}"}),
    ]


def test_several_answers_cannot_be_one_stream(double: Any) -> None:
    with pytest.raises(InputError, match="n=2: one answer can be streamed at a time"):
        next(OpenAIClient(double.url, model="m").stream("go", n=2))


@pytest.mark.parametrize("timeout", [0, -1, "x", True])
def test_a_timeout_is_seconds(double: Any, timeout: Any) -> None:
    for refused in (
        lambda: OpenAIClient(double.url, timeout=timeout),
        lambda: OpenAIClient(double.url, model="m").ask("go", timeout=timeout),
    ):
        with pytest.raises(InputError, match=r"timeout=.*expected seconds, above 0"):
            refused()


def test_a_url_without_its_version_is_helped_out(double: Any) -> None:
    with pytest.raises(ServiceError, match=r"404(.|\n)*Is it http://.*/v1\?"):
        OpenAIClient(double.url.removesuffix("/v1")).models()
