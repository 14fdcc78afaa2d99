import json

import pytest

from lazyllm_deploy_transformers.http import Json
from lazyllm_deploy_transformers.protocol.responses import Answer, Usage, Writer


def read(event):
    assert event.startswith(b"data: ") and event.endswith(b"\n\n") and event.count(b"\n") == 2
    return json.loads(event[6:])


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
@pytest.mark.parametrize("usage", [True, False])
def test_events_in_the_middle_of_a_stream_look_like_its_last(endpoint, usage):
    writer = Writer(endpoint, 'a "model"\n模型 \\u0000', include_usage=usage)
    for text in ("x", 'quo"te', "line\nbreak", "\0\u2028", "好🌍", "\\"):
        for index in (0, 1, 0):
            first, last = read(writer.delta(index, text)), read(writer.delta(index, text, "stop"))
            assert last["choices"][0].pop("finish_reason") == "stop"
            assert first["choices"][0].pop("finish_reason") is None
            assert first == last and ("usage" in first) is usage


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_a_name_that_is_no_text_is_escaped_in_streams_as_in_whole_answers(endpoint):
    writer = Writer(endpoint, "m\udcff", include_usage=True)
    whole = json.loads(Json(writer.whole([Answer(0, "x", "stop")], Usage(1, 1))).body)
    events = [writer.delta(0, "x"), writer.delta(0, "", "stop"), writer.usage(Usage(1, 1))]
    assert {read(e)["model"] for e in events} == {"m\udcff"} == {whole["model"]}


def test_the_pieces_of_text_are_what_was_given():
    assert read(Writer("chat", "m").delta(2, "hi"))["choices"] == [
        {"index": 2, "delta": {"content": "hi"}, "finish_reason": None, "logprobs": None}
    ]
    assert read(Writer("completions", "m").delta(0, "hi"))["choices"] == [
        {"index": 0, "text": "hi", "finish_reason": None, "logprobs": None}
    ]
    assert read(Writer("chat", "m", include_usage=True).usage(Usage(2, 3)))["usage"]["total_tokens"] == 5
