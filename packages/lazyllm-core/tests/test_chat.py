"""`lazyllm chat` as a conversation, and what a terminal is given of it."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from lazyllm.cli import run


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that says what is typed at a terminal: lines, the last of which is empty."""

    def typed(*lines: str) -> None:
        monkeypatch.setattr(sys, "stdin", _Terminal("".join(f"{line}\n" for line in (*lines, ""))))

    return typed


def test_a_turn_that_is_refused_is_forgotten(
    double: Any, sse: Any, typed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(body: Any) -> Any:
        said = body["messages"][-1]["content"]
        if said == "long":
            return 400, {"error": {"message": "the context is full"}}
        return sse({"choices": [{"delta": {"content": f"<{said}>"}}]}, done=said != "half")

    double.answers["/v1/chat/completions"] = answer
    typed("one", "long", "half", "two")
    assert run(["chat", double.url, "--system", "S"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "> <one>\n> > <half>\n> <two>\n> "
    assert "the context is full" in shown.err and "broke off before its end" in shown.err
    asked = [[m["content"] for m in body["messages"]] for body in double.requests("/v1/chat/completions")]
    assert asked[-1] == ["S", "one", "<one>", "two"]


def test_a_server_that_has_gone_ends_no_conversation(
    double: Any, typed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    double.server.shutdown()
    double.server.server_close()
    typed("one", "two")
    assert run(["chat", double.url, "--timeout", "0.2"]) == 0
    assert capsys.readouterr().err.count("No server answers at") == 2


@pytest.mark.usefixtures("shout")
def test_an_engine_of_its_own_protocol_is_asked_line_by_line(
    double: Any, typed: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lazyllm.module.url._protocol_of", lambda url: "shout")
    double.answers["/v1_stream"] = lambda body: json.dumps({"answer": f"<{body['text']}>"}).encode() + b"\0"
    typed("one", "two")
    assert run(["chat", double.url]) == 0
    shown = capsys.readouterr()
    assert "<one>" in shown.out and "<two>" in shown.out
    assert shown.err.count("Engine shout is asked each line alone") == 1
    assert [body["text"] for body in double.requests("/v1_stream")] == ["one", "two"]
    assert run(["chat", double.url, "hi", "--system", "S"]) == 2
    assert "--system: engine shout" in capsys.readouterr().err and len(double.requests("/v1_stream")) == 2


def on_a_terminal(args: list[str], *lines: bytes) -> bytes:
    """Run lazyllm on a terminal, type a line at each prompt, and return all that the terminal got."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-m", "lazyllm", *args], {**os.environ, "TERM": "xterm"})
    got, prompts, end = b"", 0, time.monotonic() + 60
    while time.monotonic() < end:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # the program has gone
            break
        got += piece
        if prompts < len(lines) and got.count(b"> ") > prompts:
            os.write(terminal, lines[prompts])
            prompts += 1
    os.waitpid(pid, 0)
    os.close(terminal)
    return got


def test_a_terminal_edits_lines_and_gets_no_control_characters(double: Any, sse: Any) -> None:
    pytest.importorskip("readline")
    answer = "a\u00a0b\tc\n\x1b]0;title\x07d\r\x9b2Je"
    double.answers["/v1/chat/completions"] = sse({"choices": [{"delta": {"content": answer}}]})
    got = on_a_terminal(["chat", double.url], b"ad\x1b[Dbc\n", b"\x1b[A\n", b"\x04")
    asked = [body["messages"][-1]["content"] for body in double.requests("/v1/chat/completions")]
    assert asked == ["abcd", "abcd"], "the arrow keys edit, and bring back what was typed"
    assert "a\u00a0b".encode() in got and b"?]0;title?d?2Je" in got
    assert b"\x1b]0;" not in got and "\x9b".encode() not in got


def test_an_encoding_that_lacks_characters(double: Any, sse: Any) -> None:
    answer = "é \u4e2d \U0001f600"
    double.answers["/v1/chat/completions"] = sse({"choices": [{"delta": {"content": answer}}]})
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    ask = [sys.executable, "-m", "lazyllm", "chat", double.url, "hi"]
    shown = subprocess.run(ask, env=environment, capture_output=True, check=True).stdout
    assert shown == b"\xe9 \\u4e2d \\ud83d\\ude00\n"
    told = subprocess.run([*ask, "--json"], env=environment, capture_output=True, check=True).stdout
    assert json.loads(told.decode("latin-1")) == {"answer": answer}
