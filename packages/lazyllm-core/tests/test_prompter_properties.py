"""What holds for any text at all."""

from hypothesis import given, settings
from hypothesis import strategies as st

from lazyllm.components.prompter import PrompterBase
from lazyllm.components.prompter.template import SLOT, Template

text = st.text(alphabet=st.sampled_from("{}ab_ %\\<!/>\n") | st.characters(codec="utf-8"), max_size=40)


class AnyTextPrompter(PrompterBase):
    def __init__(self) -> None:
        super().__init__()
        self._init_prompt("{system}|{instruction}|{history}|{user}{input}|", f"{{a}}{self.ISA}{{b}}{self.ISE}")


PROMPTER = AnyTextPrompter()


@settings(deadline=None)
@given(text, text, text, text, text)
def test_any_text_stands_in_the_prompt_as_it_is(a: str, b: str, asked: str, said: str, answer: str) -> None:
    inputs, history = {"a": a, "b": b, "c": asked}, [[said, answer]]
    prompt = PROMPTER.generate_prompt(inputs, history)
    assert prompt == f"You are an AI-Agent developed by LazyLLM.|{a}|{said}{answer}|{b}{asked}|"
    assert inputs == {"a": a, "b": b, "c": asked}
    assert history == [[said, answer]]


@settings(deadline=None)
@given(text, st.dictionaries(st.sampled_from(["a", "b", "ab"]), text))
def test_binding_some_slots_first_changes_nothing(template: str, values: dict[str, str]) -> None:
    every = {name: values.get(name, "?") for name in SLOT.findall(template)}
    expected = SLOT.sub(lambda found: every[found[1]], template)
    assert Template(template).fill(every) == expected
    assert Template(template).bind(values).fill(every) == expected
