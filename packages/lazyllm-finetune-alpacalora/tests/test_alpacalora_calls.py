"""Function calls in chats: what they must look like, and that what is trained is what a server asks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lazyllm.errors import DataError
from lazyllm_finetune_alpacalora.calls import read_calls
from lazyllm_finetune_alpacalora.callstyle import Style, Styles, check_functions
from lazyllm_finetune_alpacalora.data import read
from lazyllm_finetune_alpacalora.encode import IGNORED, Encoder
from lazyllm_finetune_alpacalora.template import load_template

TOOLS = "{% if tools %}<tools>{{ tools | tojson }}</tools>\n{% endif %}"
TURNS = (
    "{%% for m in messages %%}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{%% for c in m.tool_calls or [] %%}<tool_call>\n"
    '{"name": "{{ c.function.name }}", "arguments": %s}\n</tool_call>{%% endfor %%}<|im_end|>\n{%% endfor %%}'
    "{%% if add_generation_prompt %%}<|im_start|>assistant\n{%% endif %%}"
)
OBJECTS = TOOLS + TURNS % "{{ c.function.arguments | tojson }}"  # as Qwen2.5's
TEXTS = TOOLS + TURNS % "{{ c.function.arguments }}"  # as DeepSeek's
STRICT = (
    "{% for m in messages if m.role not in ('user', 'assistant') or m.tool_calls %}"
    "{{ raise_exception('turns only') }}{% endfor %}" + TURNS % "1"
)

CITY = {"city": "Zürich"}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
LEARNT = '<tool_call>\n{"name": "weather", "arguments": {"city": "Zürich"}}\n</tool_call><|im_end|>\n'


def call(arguments: Any = CITY, **rest: Any) -> dict[str, Any]:
    return {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": arguments}, **rest}


def chat(*calls: Any, **rest: Any) -> dict[str, Any]:
    asked = {"role": "user", "content": "Weather?"}
    turns = [asked, {"role": "assistant", "content": None, "tool_calls": list(calls)}]
    return {"messages": [*turns, {"role": "tool", "content": "18"}, {"role": "assistant", "content": "18°"}], **rest}


def learnt(tokenizer: Any, record: dict[str, Any], **options: Any) -> str:
    limits = {"cutoff_len": 1030, "filter_nums": 1024, "train_on_inputs": False, **options}
    done = Encoder(tokenizer, "messages", load_template("alpaca"), **limits).encode([record])
    return str(tokenizer.decode([token for token in done.labels[0] if token != IGNORED]))


@pytest.mark.parametrize(
    "given",
    [
        call(CITY),
        call(json.dumps(CITY)),
        {"name": "weather", "arguments": json.dumps(CITY)},
        {"function": {"name": "weather", "arguments": CITY}},
    ],
    ids=str,
)
@pytest.mark.parametrize("template", [OBJECTS, TEXTS], ids=["objects", "texts"])
def test_calls_are_learnt_as_a_server_renders_them(
    template: str, given: dict[str, Any], tmp_path: Path, tokenizer_maker: Any
) -> None:
    tokenizer = tokenizer_maker(tmp_path, template)
    record = chat(given, tools=[TOOL])
    assert learnt(tokenizer, record) == f"{LEARNT}18°<|im_end|>\n<|endoftext|>"
    assert record == chat(given, tools=[TOOL])  # the caller's own
    whole = learnt(tokenizer, record, train_on_inputs=True)
    assert "<tools>" in whole
    assert LEARNT in whole


def test_a_chat_without_calls_is_as_it_was(tmp_path: Path, tokenizer_maker: Any) -> None:
    tokenizer = tokenizer_maker(tmp_path, OBJECTS)
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    for empty in (None, []):
        assert learnt(tokenizer, {"messages": [turns[0], {**turns[1], "tool_calls": empty}]}) == learnt(
            tokenizer, {"messages": turns}
        )


def test_no_arguments_are_an_empty_object() -> None:
    for none in (None, ""):
        assert read_calls([call(none)], "x") == [call({})]
    assert read_calls([{"name": "now"}], "x") == [{"type": "function", "function": {"name": "now", "arguments": {}}}]


@pytest.mark.parametrize(
    ("template", "style"),
    [
        (OBJECTS, Style(shows=True, writes=True, as_text=False)),
        (TEXTS, Style(shows=True, writes=True, as_text=True)),
        ("{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}", Style(False, False, False)),
        (STRICT, Style(shows=False, writes=True, as_text=False)),
    ],
    ids=["objects", "texts", "plain", "strict"],
)
def test_a_template_tells_its_style(template: str, style: Style, tmp_path: Path, tokenizer_maker: Any) -> None:
    assert Styles(tokenizer_maker(tmp_path, template)).of({"tools": [TOOL]}) == style


def test_a_template_for_tools_has_a_style_of_its_own(tmp_path: Path, tokenizer_maker: Any) -> None:
    tokenizer = tokenizer_maker(tmp_path)
    tokenizer.chat_template = {"default": tokenizer.chat_template, "tool_use": OBJECTS}
    check_functions(tokenizer, [("x", chat(call(), tools=[TOOL]))])
    with pytest.raises(DataError, match="x, message 2 calls functions, but .* no place for tool_calls"):
        check_functions(tokenizer, [("x", chat(call()))])


def test_what_a_template_leaves_out_is_refused(tmp_path: Path, tokenizer_maker: Any) -> None:
    tokenizer = tokenizer_maker(tmp_path)  # plain ChatML
    plain = {"messages": chat()["messages"][2:], "tools": []}
    with pytest.raises(DataError, match="f, line 2, message 2 calls functions(.|\n)*leave such records out"):
        check_functions(tokenizer, [("f, line 1", plain), ("f, line 2", chat(call()))])
    with pytest.raises(DataError, match="f, line 1 has tools, but .* does not show them(.|\n)*leave 'tools' out"):
        check_functions(tokenizer, [("f, line 1", {**plain, "tools": [TOOL]})])


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (chat(5), "line 1, message 2, call 1 must be an object, but it is a number"),
        (chat(call(), {"function": {}}), r"message 2, call 2 names no function(.|\n)*\"arguments\": "),
        (chat({"function": "weather"}), "call 1 names no function"),
        (chat(call("{broken")), "call 1: 'arguments' is text that is no JSON .*'{broken'"),
        (chat(call("[1]")), "call 1: 'arguments' must be an object, or one as JSON text, but it is a list"),
        (chat(call(["a"])), "call 1: 'arguments' must be an object, or one as JSON text, but it is a list"),
        (chat(call({"a": "\ud800"})), "half a character"),
        (chat(call(), tools=["weather"]), "tool 1 must be an object, but it is text"),
        (chat(call(), tools=[{"name": "\ud800"}]), "'tools' holds half a character"),
        (
            {"messages": [{"role": "assistant", "content": None, "tool_calls": "x"}]},
            "message 1: 'tool_calls' must be a list of calls, but it is text",
        ),
        (
            {"messages": [{"role": "user", "content": "a", "tool_calls": [call()]}]},
            "message 1 has 'tool_calls', but only the assistant calls functions; its role is 'user'",
        ),
    ],
    ids=str,
)
def test_what_is_no_call_is_refused_with_its_place(record: dict[str, Any], message: str, tmp_path: Path) -> None:
    file = tmp_path / "chat.jsonl"
    file.write_text(json.dumps(record))
    with pytest.raises(DataError, match=message):
        list(read(file))


@pytest.mark.parametrize("which", ["data", "valset"])
def test_a_training_refuses_them_before_it_loads_the_model(
    which: str, empty_model: Path, tmp_path: Path, tokenizer_maker: Any
) -> None:
    from lazyllm_finetune_alpacalora.config import RunConfig
    from lazyllm_finetune_alpacalora.params import DEFAULTS
    from lazyllm_finetune_alpacalora.prepare import _encoder

    files = {"data": tmp_path / "data.jsonl", "valset": tmp_path / "valset.jsonl"}
    for name, file in files.items():
        file.write_text(json.dumps({"messages": chat()["messages"][2:]}) + "\n")
        if name == which:
            file.write_text(file.read_text() + json.dumps(chat(call())))
    paths = {name: str(tmp_path / name) for name in ("root", "target_path", "merge_path", "log_file")}
    given = {name: str(file) for name, file in files.items()}
    config = RunConfig(base_model=str(empty_model), params=dict(DEFAULTS), **paths, **given)
    with pytest.raises(DataError, match=rf"{which}.jsonl, line 2, message 2 calls functions"):
        _encoder(config, tokenizer_maker(tmp_path))


def test_calls_are_found_where_a_template_rewrites_earlier_turns(tmp_path: Path, tokenizer_maker: Any) -> None:
    thought = "{% if m.role == 'assistant' and loop.last %}<think></think>{% endif %}{{ m.content }}"  # as Qwen3's
    tokenizer = tokenizer_maker(tmp_path, OBJECTS.replace("{{ m.content }}", thought))
    assert learnt(tokenizer, chat(call(), tools=[TOOL])) == f"{LEARNT}<think></think>18°<|im_end|>\n<|endoftext|>"
