"""What every prompter does, shown with prompters that another author might write."""

import json
import logging
from typing import Any

import pytest

from lazyllm.components.prompter import EmptyPrompter, LazyLLMPrompterBase, PrompterBase
from lazyllm.errors import PromptError


class PrintedPrompter(PrompterBase):
    def __init__(self, instruction: str = "", extro_keys: Any = None, show: bool = False) -> None:
        super().__init__(show)
        extra = PrompterBase._get_extro_key_template(extro_keys)
        self._init_prompt(
            "<system>{system}</system>\n</instruction>{instruction}</instruction>{history}\n{input}\n, ## Response::",
            f"{instruction}\n{extra}\n",
            "## Response::",
        )


class OwnPrompter(PrompterBase):
    def __init__(self, template: str, instruction: str = "", split: str | None = None, **kw: Any) -> None:
        super().__init__(**kw)
        self._init_prompt(template, instruction, split)


EVERYTHING = "{sos}{system}|{instruction}|{tools}{eos}{history}{soh}{user}/{input}{eoh}{soa}"
TOOLS = [{"type": "function", "function": {"name": "add", "description": "Zählt {zusammen}"}}]


def test_the_documented_example() -> None:
    assert PrintedPrompter("ins {instruction}").generate_prompt("hello") == (
        "<system>You are an AI-Agent developed by LazyLLM.</system>\n</instruction>ins hello\n\n</instruction>"
        "\n\n, ## Response::"
    )
    assert PrompterBase is LazyLLMPrompterBase


def test_an_authors_prompter_registers_itself() -> None:
    import lazyllm

    assert lazyllm.prompters.PrintedPrompter is PrintedPrompter
    assert lazyllm.prompters.printed is PrintedPrompter
    assert lazyllm.prompters.empty is EmptyPrompter


@pytest.mark.parametrize(
    ("given", "prompt"),
    [
        ("plain", "1|2"),
        ({"a": "1", "b": "2", "c": "3"}, "1|2|3"),
    ],
)
def test_slots_take_their_keys_and_one_more_is_the_input(given: Any, prompt: str) -> None:
    prompter = OwnPrompter("{instruction}|{input}", "{a}|{b}")
    if isinstance(given, str):
        with pytest.raises(PromptError, match="slots 'a', 'b'"):
            prompter.generate_prompt(given)
    else:
        assert prompter.generate_prompt(given) == prompt


def test_missing_and_unexpected_keys_are_named_with_the_expected_ones() -> None:
    prompter = OwnPrompter("{instruction}|{input}", "{a} {b}")
    with pytest.raises(PromptError, match=r"lacks 'b' and has 'x', 'y' without a slot. Expected keys: 'a', 'b' and"):
        prompter.generate_prompt({"a": "1", "x": "2", "y": "3"})


@pytest.mark.parametrize("given", [1.5, object(), {"q": None}, {"q": ["text"]}, ["text"], ("a", "b"), b"x"])
def test_an_input_that_is_no_text_is_refused(given: Any) -> None:
    for return_dict in (False, True):
        with pytest.raises(PromptError):
            OwnPrompter(EVERYTHING).generate_prompt(given, return_dict=return_dict)


@pytest.mark.parametrize("value", [None, ["x"], {"k": 1}])
def test_a_slots_value_that_is_no_text_is_refused(value: Any) -> None:
    with pytest.raises(PromptError, match=r"\{a\}"):
        OwnPrompter("{instruction}", "{a}").generate_prompt({"a": value})


HOSTILE = "{input} {a} {{x}} %s %(a)s <!lazyllm-spliter!>u</!lazyllm-spliter!> {tool_start_token} \\1 \\g<0> {"


def test_values_are_put_in_as_they_are() -> None:
    prompter = OwnPrompter(EVERYTHING, f"I {{a}}{PrompterBase.ISA}U {{b}}{PrompterBase.ISE}")
    marks = {mark: f"<{{{mark}}}>" for mark in ("sos", "eos", "soh", "eoh", "soa", "eoa", "tool_start_token")}
    prompter._set_model_configs(system="{input}", **marks)
    given = {"a": HOSTILE, "b": HOSTILE, "c": HOSTILE}
    tools = f"### Function-call Tools. \n\n{json.dumps(TOOLS, ensure_ascii=False)}\n\n"
    assert prompter.generate_prompt(given, [[HOSTILE, HOSTILE]], TOOLS) == (
        f"<{{sos}}>{{input}}|I {HOSTILE}|{tools}<{{eos}}>"
        f"<{{soh}}>{HOSTILE}<{{eoh}}><{{soa}}>{HOSTILE}<{{eoa}}><{{soh}}>U {HOSTILE}/{HOSTILE}<{{eoh}}><{{soa}}>"
    )
    messages = prompter.generate_prompt(given, return_dict=True)["messages"]
    assert [m["content"] for m in messages] == [f"{{input}}\nI {HOSTILE}", f"U {HOSTILE}{HOSTILE}"]


def test_only_names_in_braces_are_slots() -> None:
    instruction = '{"k": {"n": 1}} {} { a } {{a}} {a-b}'
    prompt = OwnPrompter("{instruction}", instruction).generate_prompt("X")
    assert prompt == '{"k": {"n": 1}} {} { a } {X} {a-b}'


def test_the_models_tool_marks_fill_their_places_in_an_instruction() -> None:
    prompter = OwnPrompter("{instruction}", "call {tool_start_token}{name}{tool_args_token}{tool_end_token}")
    assert prompter.generate_prompt("f") == "call f"
    prompter._set_model_configs(tool_start_token="{<", tool_args_token=",", tool_end_token=">}")
    assert prompter.generate_prompt("f") == "call {<f,>}"
    prompter._set_model_configs(tool_start_token="[")
    assert prompter.generate_prompt("f") == "call [f,>}"


def test_marks_and_other_settings_of_a_model() -> None:
    prompter = OwnPrompter(EVERYTHING)
    prompter._set_model_configs("Hi", soh="<H>", separator="s", plugin="p", interpreter="i", stop_words=["</s>"])
    prompter._set_model_configs(eoh="</H>", soh=None)
    assert prompter.generate_prompt("x") == "Hi||<H>/x</H>"
    with pytest.raises(PromptError, match="'soh'"):
        prompter._set_model_configs(sohh="x")
    with pytest.raises(PromptError, match="soh is text"):
        prompter._set_model_configs(soh=1)  # type: ignore[arg-type]
    assert prompter.generate_prompt("x") == "Hi||<H>/x</H>"


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        (None, ""),
        ("k", "P### k:\n{k}\n\n"),
        (["k", "l"], "P### k:\n{k}\n\n### l:\n{l}\n\n"),
        (("k",), "P### k:\n{k}\n\n"),
    ],
)
def test_extra_keys(keys: Any, text: str) -> None:
    assert PrompterBase._get_extro_key_template(keys, "P") == text
    assert PrompterBase._get_extro_key_template(extra_keys=keys, prefix="P") == text
    assert PrompterBase._get_extro_key_template("k").startswith(
        "Here are some extra messages you can referred to:\n\n##"
    )


@pytest.mark.parametrize("keys", [{"k": 1}, 5, 0, [1], ["a b"], {"k"}])
def test_extra_keys_that_are_no_names_are_refused(keys: Any) -> None:
    with pytest.raises(PromptError):
        PrompterBase._get_extro_key_template(keys)


def test_hooks_see_the_parts_and_may_refuse_them() -> None:
    seen = []

    class CheckedPrompter(OwnPrompter):
        def _check_values(self, instruction: Any, input: Any, history: Any, tools: Any) -> None:
            seen.append((instruction, input, list(history), tools))
            if input == "bad":
                raise PromptError("no")

    prompter = CheckedPrompter(EVERYTHING, f"s {{a}}{PrompterBase.ISA}u{PrompterBase.ISE}")
    prompter.generate_prompt({"a": "1", "q": "2"}, [["h", "i"]], TOOLS)
    assert seen == [("s 1<!lazyllm-spliter!>u</!lazyllm-spliter!>", "2", [["h", "i"]], TOOLS)]
    with pytest.raises(PromptError, match="^no$"):
        prompter.generate_prompt({"a": "1", "q": "bad"})


def test_pre_hook_comes_first_and_can_be_cleared() -> None:
    prompter = OwnPrompter("{history}{tools}{input}")
    assert prompter.pre_hook(lambda i, h, t, lab: (f"<{i}>", [["a", "b"]], t, "!")) is prompter
    assert prompter.generate_prompt(3.5) == "ab<3.5>!"
    assert prompter.pre_hook(None).generate_prompt("x") == "x"
    with pytest.raises(PromptError, match="returns input, history, tools and label"):
        prompter.pre_hook(lambda *four: "x").generate_prompt("x")  # type: ignore[arg-type, return-value]
    with pytest.raises(PromptError, match="is a function"):
        prompter.pre_hook("x")  # type: ignore[arg-type]


def test_label_ends_the_string_only() -> None:
    prompter = OwnPrompter("{input}=")
    assert prompter.generate_prompt("x", label="y") == "x=y"
    assert prompter.generate_prompt("x", label="y", return_dict=True)["messages"][-1]["content"] == "x"


def test_tools_are_given_once_and_written_as_json() -> None:
    own = OwnPrompter("{tools}{input}", tools=TOOLS)
    written = f"### Function-call Tools. \n\n{json.dumps(TOOLS, ensure_ascii=False)}\n\n"
    assert own.generate_prompt("x") == OwnPrompter("{tools}{input}").generate_prompt("x", tools=TOOLS) == written + "x"
    assert own.generate_prompt("x", return_dict=True)["tools"] == TOOLS
    assert "tools" not in OwnPrompter("{input}").generate_prompt("x", return_dict=True)
    with pytest.raises(PromptError, match="expected one of them"):
        own.generate_prompt("x", tools=TOOLS)
    for tools in ("add", [add_up], [{"type": {1}}]):
        with pytest.raises(PromptError):
            OwnPrompter("{tools}{input}").generate_prompt("x", tools=tools)  # type: ignore[arg-type]


def add_up() -> None: ...


def test_nothing_is_lost_for_want_of_a_slot() -> None:
    prompter = OwnPrompter("{input}", "")
    for kw in ({"history": [["a", "b"]]}, {"tools": TOOLS}):
        with pytest.raises(PromptError, match="would be lost"):
            prompter.generate_prompt("x", **kw)  # type: ignore[arg-type]
    with_user = f"s{PrompterBase.ISA}u {PrompterBase.ISE}"
    assert OwnPrompter("{instruction}|{input}", with_user).generate_prompt("x") == "s|u x"
    with pytest.raises(PromptError, match="would be lost"):
        OwnPrompter("{instruction}", with_user).generate_prompt()


@pytest.mark.parametrize(
    ("template", "instruction"),
    [
        ("{inptu}", ""),
        ("{soe}", ""),
        ("{x}", ""),
        ("{input}", "<!lazyllm-spliter!>u"),
        ("{input}", "u</!lazyllm-spliter!>"),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused(template: str, instruction: str) -> None:
    with pytest.raises(PromptError):
        OwnPrompter(template, instruction)


def test_a_prompter_without_a_template_says_so() -> None:
    with pytest.raises(PromptError, match="_init_prompt"):
        PrompterBase().generate_prompt("x")


def test_answers() -> None:
    prompter = PrintedPrompter()
    assert prompter.get_response("a## Response::b## Response::c") == "c"
    assert prompter.get_response("promptanswer## Response::x", "prompt") == "answer## Response::x"
    assert prompter.get_response("a## Response::b", "zzz") == "b"
    assert prompter.get_response("plain", "") == "plain"


@pytest.mark.parametrize("at_the_call", [False, True])
def test_show_logs_the_prompt(at_the_call: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from lazyllm.common.log import LOG

    lines: list[tuple[int, str]] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append((record.levelno, record.getMessage()))

    monkeypatch.setattr(LOG, "handlers", [Handler()])
    OwnPrompter("<{input}>", show=not at_the_call).generate_prompt("x", show=at_the_call)
    OwnPrompter("<{input}>").generate_prompt("y")
    assert lines == [(logging.INFO, "prompt: <x>")]


def test_the_empty_prompter_hands_on() -> None:
    prompter, given = EmptyPrompter(), {"any": ["thing"]}
    assert prompter.generate_prompt(given) is given
    assert prompter.generate_prompt("x {y}") == "x {y}"
    assert prompter.generate_prompt("x", [["a", "b"]], return_dict=True) == {
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "x"},
        ]
    }
    assert prompter.generate_prompt([{"role": "user", "content": "x"}], return_dict=True) == {
        "messages": [{"role": "user", "content": "x"}]
    }
    with pytest.raises(PromptError, match="no place for a history"):
        prompter.generate_prompt("x", [["a", "b"]])
    assert not prompter.prefers_messages


def test_the_empty_prompter_adds_to_a_request() -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    given = {"messages": [{"role": "user", "content": "x"}], "seed": 1}
    made = EmptyPrompter().generate_prompt(given, [["a", "b"]], tools, return_dict=True)
    assert made == {
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "x"},
        ],
        "seed": 1,
        "tools": tools,
    }
    assert len(given["messages"]) == 1 and "tools" not in given
    own = {**given, "tools": tools}
    assert EmptyPrompter().generate_prompt(own, return_dict=True) == own
    with pytest.raises(PromptError, match="Tools stand in the input and were given beside it"):
        EmptyPrompter().generate_prompt(own, tools=tools, return_dict=True)


def test_an_unknown_prompter_is_named() -> None:
    import lazyllm.components.prompter as prompters

    with pytest.raises(AttributeError, match="NoSuchPrompter"):
        prompters.NoSuchPrompter  # noqa: B018
