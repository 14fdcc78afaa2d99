"""ChatPrompter against the exact prompts that models were tuned and served with."""

import json
from pathlib import Path

import pytest

from lazyllm.errors import PromptError
from lazyllm_prompter_chat.prompter import ChatPrompter

CASES = [json.loads(line) for line in (Path(__file__).parent / "chat_prompts.jsonl").read_text("utf-8").splitlines()]


def test_every_documented_prompt_is_exact() -> None:
    assert len(CASES) == 642
    for number, case in enumerate(CASES, 1):
        given = json.dumps(case["call"])
        try:
            prompter = ChatPrompter(**case["ctor"])
            if case["model_configs"]:
                prompter._set_model_configs(**case["model_configs"])
            result = {"ok": prompter.generate_prompt(**case["call"])}
        except PromptError as error:
            assert len(str(error)) > 20
            result = {"error": True}
        assert result == case["expect"], f"line {number}"
        assert json.dumps(case["call"]) == given, f"line {number}: the caller's values were changed"


MARKS = {
    "sos": "<S>",
    "eos": "</S>",
    "soh": "<H>",
    "eoh": "</H>",
    "soa": "<A>",
    "eoa": "</A>",
    "soe": "<E>",
    "eoe": "</E>",
}
TOOL_RESULT = {"role": "tool", "content": "22 C", "name": "weather", "tool_call_id": "1"}


def marked(*args: object, **kw: object) -> ChatPrompter:
    prompter = ChatPrompter(*args, **kw)  # type: ignore[arg-type]
    prompter._set_model_configs(**MARKS)
    return prompter


def test_a_tool_result_stands_between_the_marks_of_the_environment() -> None:
    prompter = marked()
    for given in ({"q": TOOL_RESULT}, {"q": [TOOL_RESULT]}, {"q": (TOOL_RESULT,)}, [TOOL_RESULT]):
        assert prompter.generate_prompt(given).endswith("\n<E>\n22 C\n</E><A>\n")
        assert prompter.generate_prompt(given, return_dict=True)["messages"][1:] == [TOOL_RESULT]


def test_messages_as_input_are_copies() -> None:
    made = ChatPrompter().generate_prompt({"q": TOOL_RESULT}, return_dict=True)["messages"][1]
    made["content"] = "changed"
    assert TOOL_RESULT["content"] == "22 C"


@pytest.mark.parametrize("given", ["x", ("x",), {"q": "x"}, {"q": ("x",)}])
def test_a_tuple_of_one_is_what_it_holds(given: object) -> None:
    assert ChatPrompter().generate_prompt(given, return_dict=True)["messages"][1] == {"role": "user", "content": "x"}


def test_the_user_part_goes_before_the_first_message() -> None:
    prompter = ChatPrompter({"system": "s", "user": "Result: "})
    assert prompter.generate_prompt({"q": [TOOL_RESULT]}, return_dict=True)["messages"][1]["content"] == "Result: 22 C"
    assert prompter.generate_prompt({"q": [TOOL_RESULT]}).endswith("\nResult: 22 C\n\n")
    picture = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a.png"}}]}]
    assert prompter.generate_prompt({"q": picture}, return_dict=True)["messages"][1:] == [
        {"role": "user", "content": "Result: "},
        *picture,
    ]


def test_calls_of_tools_with_arguments_as_text_stand_as_json_once() -> None:
    function = {"name": "f", "arguments": '{"a": "é"}'}
    history = [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": function}]}
    ]
    assert '\n{"name": "f", "arguments": {"a": "é"}}\n' in ChatPrompter().generate_prompt("x", history)
    prompter = marked()
    prompter._set_model_configs(tool_start_token="<T>", tool_args_token="<,>", tool_end_token="</T>")
    assert '<A><T>\nf<,>{"a": "é"}</T>\n</A>' in prompter.generate_prompt("x", history)


def test_a_systems_message_in_a_history_is_kept() -> None:
    assert "<S>be kind</S>" in marked().generate_prompt("x", [{"role": "system", "content": "be kind"}])


@pytest.mark.parametrize(
    ("history", "said"),
    [
        ("text", "list of"),
        ({"role": "user", "content": "x"}, "list of"),
        ([["a"]], "history[0]"),
        ([["a", "b"], ["a", "b", "c"]], "history[1]"),
        (["ab"], "history[0]"),
        ([["a", None]], "history[0]"),
        ([{"role": "user"}], "history[0]"),
        ([{"role": "robot", "content": "x"}], "'robot'"),
        ([{"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]}], "tool call"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "return_dict=True"),
        ([{"role": "tool", "content": {1, 2}}], "JSON"),
    ],
)
def test_a_history_that_is_none_is_refused(history: object, said: str) -> None:
    with pytest.raises(PromptError) as error:
        ChatPrompter().generate_prompt("x", history)
    assert said in str(error.value)


def test_histories_may_mix_both_forms_and_tuples() -> None:
    history = [("q1", "a1"), {"role": "user", "content": "q2"}, ["q3", 4]]
    assert "<H>q1</H><A>a1</A><H>q2</H><H>q3</H><A>4</A>" in marked().generate_prompt("x", history)
    messages = ChatPrompter(history=history[:1]).generate_prompt("x", history[1:], return_dict=True)["messages"]
    assert [m["content"] for m in messages[1:]] == ["q1", "a1", "q2", "q3", "4", "x"]


def test_extra_keys_stay_with_a_dict_instruction() -> None:
    instruction = {"system": "Use the notes.", "user": "Q: {q}"}
    prompt = ChatPrompter(instruction, extra_keys=["notes"]).generate_prompt({"q": "why?", "notes": "because"})
    assert "Use the notes." in prompt
    assert prompt.endswith(
        "\nQ: why?\nHere are some extra messages you can referred to:\n\n### notes:\nbecause\n\n\n\n"
    )
    alone = ChatPrompter({"system": "Use the notes."}, extro_keys=["notes"]).generate_prompt(
        {"notes": "because", "q": "why?"}, return_dict=True
    )
    assert alone["messages"][1]["content"].endswith("### notes:\nbecause\n\nwhy?")


def test_both_spellings_of_extra_keys_are_one() -> None:
    old, new = ChatPrompter("I", extro_keys="k"), ChatPrompter("I", extra_keys="k")
    assert old.generate_prompt({"k": "K", "q": "Q"}) == new.generate_prompt({"k": "K", "q": "Q"})
    with pytest.raises(PromptError, match="two spellings"):
        ChatPrompter("I", extro_keys="k", extra_keys="k")


def test_messages_are_preferred_until_a_models_marks_are_known() -> None:
    prompter = ChatPrompter()
    assert prompter.prefers_messages
    prompter._set_model_configs(system="Be brief.")
    assert prompter.prefers_messages
    prompter._set_model_configs(soh="<H>")
    assert not prompter.prefers_messages


def test_an_answer_stands_behind_the_assistants_mark() -> None:
    prompter = ChatPrompter()
    assert prompter.get_response("a<A>b") == "a<A>b"
    prompter._set_model_configs(**MARKS)
    assert prompter.get_response("a<A>b<A>c") == "c"
    assert prompter.get_response("a<A>b<A>c", "a<A>") == "b<A>c"
    assert prompter.get_response("nothing") == "nothing"


def test_it_is_found_by_its_name() -> None:
    import lazyllm
    from lazyllm.components.prompter import ChatPrompter as found

    assert found is ChatPrompter
    assert lazyllm.prompters.chat is ChatPrompter
