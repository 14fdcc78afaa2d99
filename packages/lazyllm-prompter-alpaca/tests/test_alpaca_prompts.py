"""AlpacaPrompter against the exact prompts that models were tuned and served with."""

import json
from pathlib import Path

import pytest

from lazyllm.errors import PromptError
from lazyllm_prompter_alpaca.prompter import AlpacaPrompter

CASES = [json.loads(line) for line in (Path(__file__).parent / "alpaca_prompts.jsonl").read_text("utf-8").splitlines()]


def test_every_documented_prompt_is_exact() -> None:
    assert len(CASES) == 209
    for number, case in enumerate(CASES, 1):
        given = json.dumps(case["call"])
        try:
            prompter = AlpacaPrompter(**case["ctor"])
            if case["model_configs"]:
                prompter._set_model_configs(**case["model_configs"])
            result = {"ok": prompter.generate_prompt(**case["call"])}
        except PromptError as error:
            assert len(str(error)) > 20
            result = {"error": True}
        assert result == case["expect"], f"line {number}"
        assert json.dumps(case["call"]) == given, f"line {number}: the caller's values were changed"


def test_text_without_a_slot_is_refused() -> None:
    with pytest.raises(PromptError, match="'plain'.*no slot"):
        AlpacaPrompter("No slot").generate_prompt("plain")
    with pytest.raises(PromptError, match="has 'y' without a slot. Expected keys: 'x'"):
        AlpacaPrompter("Do {x}").generate_prompt({"x": "1", "y": "2"})


NOTHING: tuple[object, ...] = (None, "", {})


def test_no_input_is_fine_without_slots() -> None:
    prompts = {AlpacaPrompter("Say hello.").generate_prompt(given) for given in NOTHING}
    assert len(prompts) == 1
    assert prompts.pop().endswith("### Instruction:\nSay hello.\n\n\n\n### Response:\n")


@pytest.mark.parametrize("return_dict", [False, True])
def test_a_history_is_refused(return_dict: bool) -> None:
    with pytest.raises(PromptError, match="takes no history"):
        AlpacaPrompter("Do {x}").generate_prompt("it", [["a", "b"]], return_dict=return_dict)
    AlpacaPrompter("Do {x}").generate_prompt("it", [], return_dict=return_dict)


def test_extra_keys_stay_with_a_dict_instruction() -> None:
    prompter = AlpacaPrompter({"system": "Use the notes.", "user": "Q: {q}"}, extro_keys="notes")
    prompt = prompter.generate_prompt({"q": "why?", "notes": "because"})
    extra = "Here are some extra messages you can referred to:\n\n### notes:\nbecause\n\n"
    assert prompt.endswith(f"Use the notes.\n\nQ: why?\n\n{extra}### Response:\n")
    assert prompt == AlpacaPrompter(
        {"system": "Use the notes.", "user": "Q: {q}"}, extra_keys=["notes"]
    ).generate_prompt({"q": "why?", "notes": "because"})


def test_the_answer_stands_behind_the_last_response() -> None:
    prompter = AlpacaPrompter("Do {x}")
    assert prompter.get_response("a### Response:b### Response:c") == "c"
    prompt = prompter.generate_prompt("it")
    assert prompter.get_response(prompt + "done ### Response: really", prompt) == "done ### Response: really"
    assert prompter.get_response("plain") == "plain"


def test_strings_are_preferred_and_the_name_is_known() -> None:
    import lazyllm
    from lazyllm.components.prompter import AlpacaPrompter as found

    assert found is AlpacaPrompter is lazyllm.prompters.alpaca
    assert not AlpacaPrompter().prefers_messages
