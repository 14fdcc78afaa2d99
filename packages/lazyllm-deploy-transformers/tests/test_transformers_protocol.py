import json

import pytest

from lazyllm_deploy_transformers.answering import room
from lazyllm_deploy_transformers.http import failure
from lazyllm_deploy_transformers.protocol.errors import ApiError
from lazyllm_deploy_transformers.protocol.requests import read_chat, read_completion

HI = [{"role": "user", "content": "hi"}]


def chat(**body):
    return read_chat({"model": "m", "messages": HI, **body})


def complete(**body):
    return read_completion({"model": "m", "prompt": "hi", **body})


def test_a_plain_chat_request():
    asked = chat()
    assert asked.messages == HI and asked.model == "m"
    assert asked.params.max_tokens is None and asked.params.n == 1 and not asked.params.stream


def test_content_parts_are_joined_and_developer_speaks_as_system():
    asked = read_chat(
        {
            "messages": [
                {"role": "developer", "content": [{"type": "text", "text": "be "}, {"type": "text", "text": "kind"}]},
                {"role": "assistant", "content": "", "function_call": None},
            ]
        }
    )
    assert asked.messages[0] == {"role": "system", "content": "be kind"}
    assert asked.messages[1]["role"] == "assistant" and asked.messages[1]["content"] == ""


@pytest.mark.parametrize("stop, expected", [(None, ()), ([], ()), ("x", ("x",)), (list("abcde"), tuple("abcde"))])
def test_stop_takes_all_the_forms_of_the_protocol(stop, expected):
    assert chat(stop=stop).params.stop == expected
    assert complete(stop=stop).params.stop == expected


@pytest.mark.parametrize(
    "prompt, expected",
    [("a", ["a"]), (["a", "b"], ["a", "b"]), ([1, 2], [[1, 2]]), ([[1], [2, 3]], [[1], [2, 3]])],
)
def test_prompts_take_all_the_forms_of_the_protocol(prompt, expected):
    assert complete(prompt=prompt).prompts == expected


def test_fields_that_change_no_answer_are_taken():
    chat(user="u", store=True, metadata={"a": "b"}, service_tier="auto", tools=[], tool_choice="none", n=None)
    complete(user="u", best_of=1, suffix=None)
    assert complete(n=3, best_of=3).params.n == 3


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_both_names_of_the_token_limit(field):
    assert chat(**{field: 7}).params.max_tokens == 7


def test_completions_default_to_the_protocols_sixteen_tokens():
    assert complete().params.max_tokens == 16


def test_null_is_all_that_the_context_has_room_for():
    asked = complete(max_tokens=None, prompt=[1, 2, 3])
    assert asked.params.max_tokens is None
    assert room([1, 2, 3], asked.params, context=512, vocabulary=10) == 509


REFUSED = {
    "tool_choice": {"tool_choice": "required"},
    "response_format": {"response_format": {"type": "json_object"}},
    "logprobs": {"logprobs": "yes"},
    "top_logprobs": {"top_logprobs": 3},
    "stream_options": {"stream_options": {"include_usage": True}},
    "temperature": {"temperature": 2.5},
    "top_p": {"top_p": "high"},
    "top_k": {"top_k": 1.5},
    "n": {"n": 0},
    "seed": {"seed": True},
    "stop": {"stop": [""]},
    "max_tokens": {"max_tokens": 0},
    "presence_penalty": {"presence_penalty": -3},
    "logit_bias": {"logit_bias": {"x": 1}},
    "messages": {"messages": []},
    "stream": {"stream": "true"},
    "reasoning_effort": {"reasoning_effort": "high"},
}


@pytest.mark.parametrize("field", REFUSED)
def test_what_cannot_be_honoured_is_refused_by_name(field):
    with pytest.raises(ApiError) as e:
        chat(**REFUSED[field])
    assert e.value.status == 400 and e.value.param == field and field in e.value.message


@pytest.mark.parametrize("bias", [{"1": 101}, {"1": "x"}, {"\u0661": 1}, {"-1": 1}])
def test_biases_that_cannot_be_are_refused_by_the_fields_own_name(bias):
    with pytest.raises(ApiError, match="logit_bias") as e:
        chat(logit_bias=bias)
    assert e.value.param == "logit_bias"


@pytest.mark.parametrize("prompt", [[[]], [1, "a"], [None], [1.5], [True]])
def test_prompts_of_mixed_kinds_are_refused(prompt):
    with pytest.raises(ApiError, match="neither a string nor a list of token ids"):
        complete(prompt=prompt)


@pytest.mark.parametrize("body", [{"best_of": 3}, {"suffix": "x"}, {"echo": True, "logprobs": 1}, {"prompt": []}])
def test_completions_refuse_what_they_cannot_do(body):
    with pytest.raises(ApiError) as e:
        complete(**body)
    assert e.value.status == 400 and e.value.param in body


def test_an_unknown_field_names_its_neighbour():
    with pytest.raises(ApiError, match="Unknown field 'temprature'. Did you mean 'temperature'"):
        chat(temprature=1)


@pytest.mark.parametrize(
    "body",
    [
        {"x" * 10**6: 1},
        {"stream": True, "stream_options": {"x" * 10**6: 1}},
        {"messages": [{"role": "x" * 10**6}]},
        {"messages": [{"role": "user", "content": [{"type": "x" * 10**6}]}]},
        {"stop": "x" * 10**6},
        {"seed": "x" * 10**6},
    ],
)
def test_what_is_too_long_is_refused_in_few_words(body):
    with pytest.raises(ApiError) as e:
        chat(**body)
    assert len(e.value.message) < 600


@pytest.mark.parametrize("body, said", [(None, "null"), ([], "a list"), ("x", "'x'"), (3, "3"), (True, "true")])
def test_a_body_that_is_no_object_is_refused(body, said):
    with pytest.raises(ApiError) as e:
        read_chat(body)
    assert e.value.message == f"The request's body must be a JSON object, not {said}."


@pytest.mark.parametrize(
    "body, said",
    [
        ({"stream": "yes"}, "stream must be true or false, not 'yes'."),
        ({"temperature": True}, "temperature must be a number from 0 to 2, not true."),
        ({"temperature": float("inf")}, "temperature must be a number from 0 to 2, not a number that large."),
        ({"stop": [None]}, "stop must be a string, not null."),
        ({"stop": {"a": 1}}, "stop must be a string or a list of strings, not an object."),
        ({"logit_bias": [1]}, "logit_bias must be an object, not a list."),
        ({"n": 1e3}, "n must be a whole number from 1 to 128, not 1000.0."),
        ({"seed": 2**70}, f"not {2**70}."),
        ({"messages": [{"content": "x"}]}, "user, assistant or tool, not null."),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "holds a part of type null; this server takes"),
        ({"messages": [{"role": "user", "content": [True]}]}, "content holds true; this server takes"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name must be a string, not null."),
        ({"tool_choice": {"type": "function"}}, "tool_choice must be 'auto' or 'none', not an object: this server"),
    ],
)
def test_values_are_told_by_the_names_that_json_has_for_them(body, said):
    with pytest.raises(ApiError) as e:
        chat(**body)
    assert said in e.value.message


@pytest.mark.parametrize(
    "message, said",
    [
        ("hi", "must be an object"),
        ({"role": "robot", "content": "x"}, "role"),
        ({"role": "user"}, "content is missing"),
        ({"role": "assistant"}, "content is missing. An answer has content or tool_calls"),
        ({"role": "assistant", "content": None, "tool_calls": []}, "content is missing"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "text only"),
        ({"role": "user", "content": 3}, "must be a string"),
        ({"role": "user", "content": "\ud800"}, "surrogate"),
    ],
)
def test_messages_that_make_no_sense_say_where(message, said):
    with pytest.raises(ApiError, match=said):
        read_chat({"messages": [*HI, message]})


def test_half_a_character_of_the_clients_comes_back_as_it_was_written():
    answer = failure(ApiError("no \ud800", param="\ud800"))
    assert json.loads(answer.body)["error"]["param"] == "\ud800"


def test_errors_have_the_form_that_clients_read():
    assert ApiError("no", status=404, param="model", code="model_not_found").to_json() == {
        "error": {"message": "no", "type": "not_found_error", "param": "model", "code": "model_not_found"}
    }
