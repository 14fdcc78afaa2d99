"""Requests that offer functions, and templates that write them."""

import asyncio
import json

import pytest

from lazyllm_deploy_transformers.protocol.errors import ApiError
from lazyllm_deploy_transformers.protocol.requests import read_chat, read_completion
from lazyllm_deploy_transformers.protocol.responses import Answer, ToolCall, Usage, Writer
from lazyllm_deploy_transformers.text import Text
from lazyllm_deploy_transformers.toolformats import HERMES, LLAMA, MISTRAL, find_style

HI = [{"role": "user", "content": "hi"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "Tells it.", "parameters": PARAMETERS}}


def chat(messages=HI, **body):
    return read_chat({"messages": messages, **body})


def called(arguments='{"city": "Paris"}'):
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def test_tools_reach_the_template_as_the_request_has_them():
    offered = chat(tools=[WEATHER]).params.tools
    assert offered.described == [WEATHER] and offered.names == ["weather"] and offered.parallel
    assert chat(tools=[WEATHER], tool_choice="auto").params.tools == offered
    assert not chat(tools=[WEATHER], parallel_tool_calls=False).params.tools.parallel
    assert chat(tools=[{"type": "function", "function": {"name": "now"}}]).params.tools.names == ["now"]


NOTHING = [{}, {"tools": None}, {"tools": []}, {"tools": [], "tool_choice": "none", "parallel_tool_calls": True}]
NOTHING += [{"tools": [WEATHER], "tool_choice": "none"}, {"tool_choice": "auto"}]


@pytest.mark.parametrize("body", NOTHING)
def test_nothing_is_offered(body):
    assert chat(**body).params.tools is None


@pytest.mark.parametrize(
    "body, param",
    [
        ({"tools": WEATHER}, "tools"),
        ({"tools": [WEATHER, "weather"]}, "tools[1]"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
        ({"tools": [{"function": {"name": "x"}}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "\ud800"}}]}, "tools[0].function.name"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
            "tools[0].function.parameters",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "description": 3}}]},
            "tools[0].function.description",
        ),
        ({"tools": [{"type": "function", "function": {"name": "f", "strict": True}}]}, "tools[0].function.strict"),
        ({"tools": [WEATHER], "tool_choice": "required"}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "weather"}}}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": ["auto"]}, "tool_choice"),
        ({"tools": [WEATHER], "parallel_tool_calls": "no"}, "parallel_tool_calls"),
        ({"functions": [{"name": "f"}]}, "functions"),
    ],
)
def test_what_offers_nothing_that_can_be_called_is_refused_by_its_place(body, param):
    with pytest.raises(ApiError) as e:
        chat(**body)
    assert (e.value.status, e.value.param) == (400, param) and param in e.value.message


def test_completions_take_no_tools():
    with pytest.raises(ApiError, match="tools is not supported"):
        read_completion({"prompt": "x", "tools": [WEATHER]})
    assert read_completion({"prompt": "x", "tools": []}).params.tools is None


# what the templates of the families do, in a line each
TOOLS = "{% if tools %}{% for t in tools %}{{ t | tojson }}{% endfor %}{% endif %}"
TURNS = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% if m.tool_calls %}CALLS{% endif %}{% endfor %}<assistant>"
)
EACH = "{% for c in m.tool_calls %}WRITTEN{% endfor %}"
JSON = '{"name": "{{ c.function.name }}", "KEY": {{ c.function.arguments | tojson }}}'


def family(calls, tools=TOOLS):
    return tools + TURNS.replace("CALLS", calls)


def each(written, key="arguments"):
    written = written.replace("JSON", JSON.replace("KEY", key))
    return EACH.replace("WRITTEN", written.replace("ALL", "{{ c.function.arguments | tojson }}"))


RAISES = "{% if (m.tool_calls[0].id | length) != 9 %}{{ raise_exception('nine') }}{% endif %}"
FAMILIES = {
    "hermes": (family(each("\n<tool_call>\nJSON\n</tool_call>")), HERMES),
    "hermes told only in words": (family("", TOOLS + '<tool_call>\n{"name": <name>}\n</tool_call>'), HERMES),
    "mistral": (family(RAISES + "[TOOL_CALLS] [" + each("JSON") + "]"), MISTRAL),
    "llama": (family(each("JSON", "parameters")), LLAMA),
    "xml in the same marks": (
        family(each("<tool_call>\n<function={{ c.function.name }}><parameter=a>ALL</parameter>\n</tool_call>")),
        None,
    ),
    "mistral's newer form": (family(each("[TOOL_CALLS]{{ c.function.name }}[ARGS]ALL")), None),
    "parameters behind a mark": (family(each("Action: JSON", "parameters")), None),
}


def tokenizer(template):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    made = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE({"x": 0, "<unk>": 1}, [], unk_token="<unk>")))
    made.add_special_tokens({"additional_special_tokens": ["[TOOL_CALLS]", "</s>"]})
    made.add_tokens(["<tool_call>", "</tool_call>"])
    made.chat_template = template
    return made


@pytest.mark.parametrize("name", FAMILIES)
def test_the_form_of_calls_is_seen_in_what_the_template_writes(name):
    template, form = FAMILIES[name]
    style = Text(tokenizer(template)).style
    assert (style.shows, style.format, style.as_text) == (True, form, False)
    assert style.writes is (name != "hermes told only in words")


def test_a_template_of_its_own_for_tools_is_the_one_that_counts():
    made = tokenizer({"default": family("", ""), "tool_use": FAMILIES["hermes"][0]})
    style = Text(made).style
    assert style.shows and style.writes and style.format == HERMES


PLAIN = TURNS.replace("CALLS", "")
HERMES_TOO = FAMILIES["hermes"][0]
AS_TEXT = family(each("{{ 'CALL ' + c.function.arguments }}"), "")


@pytest.mark.parametrize(
    "default, tool_use, body, written",
    [
        (PLAIN, HERMES_TOO, {}, None),
        (PLAIN, HERMES_TOO, {"tools": [WEATHER], "tool_choice": "none"}, None),
        (PLAIN, HERMES_TOO, {"tools": [WEATHER]}, {"city": "Paris"}),
        (PLAIN, HERMES_TOO, {"chat_template_kwargs": {"tools": [WEATHER]}}, {"city": "Paris"}),
        (AS_TEXT, HERMES_TOO, {}, '{"city": "Paris"}'),
        (AS_TEXT, HERMES_TOO, {"tools": [WEATHER]}, {"city": "Paris"}),
    ],
)
def test_earlier_calls_fit_the_template_that_the_request_gets(default, tool_use, body, written):
    text, seen = Text(tokenizer({"default": default, "tool_use": tool_use})), []
    render = text._tokenizer.apply_chat_template
    text._tokenizer.apply_chat_template = lambda messages, **kw: seen.append(messages) or render(messages, **kw)
    asked = chat([*HI, called()], **body)
    work = text.encode_chat(asked.messages, asked.template, asked.params.tools)
    if written is None:
        with pytest.raises(ApiError, match="no place for tool_calls"):
            asyncio.run(work)
    else:
        assert asyncio.run(work) and seen[0][1]["tool_calls"][0]["function"]["arguments"] == written


@pytest.mark.parametrize("arguments", ["{{ 'text: ' + c.function.arguments }}", "{{ c.function.arguments }}"])
def test_a_template_that_wants_arguments_as_text_gets_text(arguments):
    text = Text(tokenizer(family(each(f"CALL {{{{ c.function.name }}}} {arguments}"))))
    assert text.style.as_text
    seen = []
    text._tokenizer.apply_chat_template = lambda messages, **kw: seen.append(messages) or "x"
    asyncio.run(text.encode_chat(chat([*HI, called('{"a": "北"}')]).messages, {}))
    assert seen[0][1]["tool_calls"][0]["function"]["arguments"] == '{"a": "北"}'


def encode(template, messages=HI, **body):
    asked = chat(messages, **body)
    return asyncio.run(Text(tokenizer(template)).encode_chat(asked.messages, asked.template, asked.params.tools))


@pytest.mark.parametrize(
    "template, messages, body, said",
    [
        (family("", ""), HI, {"tools": [WEATHER]}, "no place for tools"),
        (family("", ""), [*HI, called()], {}, "no place for tool_calls"),
        (FAMILIES["xml in the same marks"][0], HI, {"tools": [WEATHER]}, "does not know the form"),
        (FAMILIES["hermes"][0], HI, {"tools": [WEATHER], "chat_template_kwargs": {"tools": []}}, "one of them"),
        (FAMILIES["mistral"][0], [*HI, called()], {}, "nine"),
    ],
)
def test_what_the_template_cannot_do_is_a_400_in_words(template, messages, body, said):
    with pytest.raises(ApiError, match=said) as e:
        encode(template, messages, **body)
    assert e.value.status == 400


def test_a_template_without_tools_still_takes_a_request_that_offers_none():
    for body in ({}, {"tools": [WEATHER], "tool_choice": "none"}):
        assert encode(family("", ""), **body)


def test_tools_in_the_templates_own_parameters_are_nobody_elses_business():
    template = FAMILIES["xml in the same marks"][0]
    assert len(encode(template, chat_template_kwargs={"tools": [WEATHER]})) > len(encode(template))


def test_a_template_that_raises_whatever_it_is_asked_has_no_style():
    def render(messages, tools):
        raise RuntimeError("no")

    style = find_style(render)
    assert not style.shows and style.format is None and style.writes


def test_special_tokens_that_mark_calls_survive_and_others_do_not():
    made = tokenizer(FAMILIES["mistral"][0])
    ids = made.convert_tokens_to_ids(["x", "[TOOL_CALLS]", "</s>", "<tool_call>"])
    text = Text(made)
    assert text.decoder(True, marks=True)(ids).split() == ["x", "[TOOL_CALLS]", "<tool_call>"]
    assert text.decoder(True)(ids).split() == ["x", "<tool_call>"]
    assert "</s>" in text.decoder(False, marks=True)(ids)
    assert Text(tokenizer(FAMILIES["hermes"][0])).decoder(True, marks=True)(ids).split() == ["x", "<tool_call>"]


def test_a_mark_that_is_no_token_does_not_let_the_unknown_token_through():
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE({"x": 0, "<unk>": 1, "</s>": 2}, [], unk_token="<unk>"))
    made = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", eos_token="</s>")
    made.chat_template = FAMILIES["hermes"][0]
    text = Text(made)
    assert text.style.format == HERMES and text.decoder(True, marks=True)([0, 1, 0, 2]).split() == ["x", "x"]


CALLS = [ToolCall(0, "call_a", "weather", '{"city": "北京"}'), ToolCall(1, "call_b", "now", "{}")]


def test_calls_in_a_whole_answer():
    writer = Writer("chat", "m")
    (choice,) = writer.whole([Answer(0, "", "tool_calls", calls=CALLS)], Usage(1, 2))["choices"]
    message = choice["message"]
    assert message["content"] is None and choice["finish_reason"] == "tool_calls"
    assert message["tool_calls"] == [
        {"id": "call_a", "type": "function", "function": {"name": "weather", "arguments": '{"city": "北京"}'}},
        {"id": "call_b", "type": "function", "function": {"name": "now", "arguments": "{}"}},
    ]
    (plain,) = writer.whole([Answer(0, "", "stop")], Usage(1, 2))["choices"]
    assert plain["message"] == {"role": "assistant", "content": "", "refusal": None}


def test_calls_in_an_event():
    (choice,) = json.loads(Writer("chat", "m").delta(0, "Hm.", None, None, CALLS[1:])[6:])["choices"]
    function = {"name": "now", "arguments": "{}"}
    call = {"index": 1, "id": "call_b", "type": "function", "function": function}
    assert choice["delta"] == {"content": "Hm.", "tool_calls": [call]} and choice["finish_reason"] is None
