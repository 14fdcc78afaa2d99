"""Clients that come, stay and leave, and what a server tells of them."""

import json
import socket
import time

import pytest


def test_answers_side_by_side_on_one_connection(server):
    host, port = server.url.removeprefix("http://").split(":")
    body = b'{"prompt": "x", "max_tokens": 1}'
    one = (
        b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        % len(body)
        + body
    )
    with socket.create_connection((host, int(port)), 10) as s:
        s.sendall(one * 3)
        read = b""
        while read.count(b"HTTP/1.1 200") < 3:
            part = s.recv(65536)
            assert part
            read += part


def test_a_client_that_leaves_in_the_middle_of_its_request_is_no_error_of_ours(server):
    host, port = server.url.removeprefix("http://").split(":")
    for _ in range(3):
        with socket.create_connection((host, int(port))) as s:
            s.sendall(
                b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: 100\r\n\r\n{"
            )
            time.sleep(0.05)
    wait_until(lambda: server.metric('requests_total{endpoint="completions",status="499"}') >= 3)


def wait_until(check, seconds=10):
    until = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.engine
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_stops_its_computation(server, stream):
    cancelled, computed = server.metric("requests_cancelled_total"), server.metric("generated_tokens_total")
    body = json.dumps({"prompt": "x", "max_tokens": 500, "ignore_eos": True, "stream": stream, "n": 4}).encode()
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as s:
        s.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % len(body)
            + body
        )
        wait_until(lambda: server.metric("generated_tokens_total") > computed)
    wait_until(lambda: server.metric("requests_cancelled_total") == cancelled + 1)
    wait_until(lambda: server.metric("sequences_running") == 0)
    after = server.metric("generated_tokens_total")
    time.sleep(0.3)
    assert server.metric("generated_tokens_total") == after < computed + 4 * 500


def test_metrics_count_requests_and_tokens(client, server):
    before = server.metric("completion_tokens_total")
    messages = [{"role": "user", "content": "Count to five."}]
    used = client.chat.completions.create(model="tiny 'model' 模型", messages=messages).usage
    assert server.metric("completion_tokens_total") == before + used.completion_tokens
    assert server.metric('requests_total{endpoint="chat",status="200"}') >= 1
    assert server.metric("request_duration_seconds_count") >= 1


def test_the_log_has_a_start_line_and_a_ready_line_and_no_requests(server):
    lines = server.text().splitlines()
    assert "starting tiny 'model' 模型 (llama) on http://127.0.0.1:" in lines[0]
    assert "KV cache" in lines[1] and "ready after" in lines[2] and len(lines) == 3
