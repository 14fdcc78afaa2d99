"""Messages that hold calls and results of functions."""

import pytest

from lazyllm_deploy_transformers.protocol.errors import ApiError
from lazyllm_deploy_transformers.protocol.requests import read_chat

HI = [{"role": "user", "content": "hi"}]


def chat(messages):
    return read_chat({"messages": messages})


def called(arguments='{"city": "Paris"}', name="weather", **message):
    call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call], **message}


@pytest.mark.parametrize("arguments", ['{"city": "北京"}', {"city": "北京"}])
def test_arguments_of_earlier_calls_become_objects(arguments):
    message = chat([*HI, called(arguments)]).messages[1]
    assert message["content"] == "" and message["tool_calls"][0]["id"] == "call_1"
    assert message["tool_calls"][0]["function"] == {"name": "weather", "arguments": {"city": "北京"}}


def test_calls_without_arguments_and_messages_without_calls():
    assert chat([called("")]).messages[0]["tool_calls"][0]["function"]["arguments"] == {}
    for none in (None, []):
        assert "tool_calls" not in chat([called(tool_calls=none, content="")]).messages[0]
    result = {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "18"}]}
    assert chat([result]).messages == [{"role": "tool", "tool_call_id": "call_1", "content": "18"}]


@pytest.mark.parametrize(
    "message, param",
    [
        (called("{city"), "messages[1].tool_calls[0].function.arguments"),
        (called("[1]"), "messages[1].tool_calls[0].function.arguments"),
        (called(3), "messages[1].tool_calls[0].function.arguments"),
        (called("[" * 100_000), "messages[1].tool_calls[0].function.arguments"),
        (called(name=None), "messages[1].tool_calls[0].function.name"),
        (called(tool_calls=["weather"]), "messages[1].tool_calls[0]"),
        (called(tool_calls="weather"), "messages[1].tool_calls"),
        (called(role="user", content="x"), "messages[1].tool_calls"),
        ({"role": "tool", "content": "x", "tool_call_id": 3}, "messages[1].tool_call_id"),
        ({"role": "assistant", "content": "", "tool_call": []}, "messages[1].tool_call"),
        ({"role": "assistant", "content": "x", "toolCalls": []}, "messages[1].toolCalls"),
        ({"role": "tool", "content": "x", "tool_call_Id": "1"}, "messages[1].tool_call_Id"),
    ],
)
def test_calls_that_are_none_are_refused_by_their_place(message, param):
    with pytest.raises(ApiError) as e:
        chat([*HI, message])
    assert (e.value.status, e.value.param) == (400, param) and len(e.value.message) < 300


@pytest.mark.parametrize(
    "message, param",
    [
        ({"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}, "function_call"),
        ({"role": "assistant", "content": "Hm.", "function_call": {"name": "f", "arguments": "{}"}}, "function_call"),
        ({"role": "function", "name": "f", "content": "18"}, "role"),
    ],
)
def test_calls_in_the_protocols_old_form_are_refused_and_the_new_one_is_named(message, param):
    with pytest.raises(ApiError, match="Send calls as tool_calls, and their results with the role tool") as e:
        chat([*HI, message])
    assert (e.value.status, e.value.param) == (400, f"messages[1].{param}")


def test_what_a_message_holds_beyond_the_protocol_is_the_templates():
    more = {"reasoning_content": "Hm.", "tool_plan": "none", "function_call": None, "refusal": None}
    (message,) = chat([{"role": "assistant", "content": "x", **more}]).messages
    assert message == {"role": "assistant", "content": "x", **more}
