import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazyllm_deploy_transformers.answering import Piece
from lazyllm_deploy_transformers.calling import with_calls
from lazyllm_deploy_transformers.protocol.responses import TokenLogprob
from lazyllm_deploy_transformers.toolcalls import CallReader, Format
from lazyllm_deploy_transformers.toolformats import HERMES, LLAMA, MISTRAL

ONE = '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>'
PARIS = ("weather", {"city": "Paris"})
DEEP = "[" * 100_000


def read(pieces, form=HERMES, names=("weather",), **kw):
    """Return the text and the calls of an answer that comes in `pieces`, and what came with each."""
    reader = CallReader(form, names, **kw)
    steps = [reader.push(piece) for piece in pieces] + [reader.flush()]
    calls = [call for _, found in steps for call in found]
    assert [c.index for c in calls] == list(range(len(calls))) and reader.count == len(calls)
    assert len({c.id for c in calls}) == len(calls)
    return "".join(text for text, _ in steps), [(c.name, json.loads(c.arguments)) for c in calls], steps


@pytest.mark.parametrize(
    "answer, text, calls",
    [
        ("no calls at all", "no calls at all", []),
        (ONE, "", [PARIS]),
        (f"Let me look.\n\n{ONE}\n", "Let me look.", [PARIS]),
        (f"{ONE}\n{ONE}\n", "", [PARIS, PARIS]),
        (f"{ONE}\nDone.", "\nDone.", [PARIS]),
        ('<tool_call>{"name": "now", "arguments": {}}</tool_call>', "", [("now", {})]),
        ('<tool_call>{"name": "now"}</tool_call>', "", [("now", {})]),
        ('<tool_call>{"name": "f", "arguments": "{\\"a\\": 1}"}</tool_call>', "", [("f", {"a": 1})]),
        ('<tool_call>[{"name": "f", "arguments": {"a": [1.5]}}]</tool_call>', "", [("f", {"a": [1.5]})]),
        ('<tool_call>{"name": "f", "arguments": {"a": "x\ny"}}</tool_call>', "", [("f", {"a": "x\ny"})]),
        (ONE.removesuffix("</tool_call>"), "", [PARIS]),
        (ONE.removesuffix("\n</tool_call>"), "", [PARIS]),
        (ONE.replace("Paris", "</tool_call>"), "", [("weather", {"city": "</tool_call>"})]),
        (ONE.replace("Paris", '<tool_call>\\"</tool_call>'), "", [("weather", {"city": '<tool_call>"</tool_call>'})]),
        (f"<tool_call>\n{ONE}", "<tool_call>", [PARIS]),
        (f'<tool_call>\n{{"name": "a", {ONE} x', '<tool_call>\n{"name": "a",', [PARIS]),
    ],
)
def test_calls_are_told_from_text_however_the_answer_is_cut(answer, text, calls):
    expected = text if not answer.endswith(" x") else f"{text} x"
    for size in (1, 2, 3, 7, len(answer)):
        cut = [answer[i : i + size] for i in range(0, len(answer), size)]
        assert read(cut)[:2] == (expected, calls), size


BROKEN = [
    '<tool_call>{"name": "weather", "arguments": {"city": }}</tool_call> sorry',
    '<tool_call>{"name": "weather", "argum',
    '<tool_call>{"name": "weather", "arguments": {"city": "Par',
    '<tool_call>{"name": "weather", "arguments": ["Paris"]}</tool_call>',
    '<tool_call>{"name": "weather", "arguments": "Paris"}</tool_call>',
    '<tool_call>{"name": 3, "arguments": {}}</tool_call>',
    '<tool_call>{"name": "", "arguments": {}}</tool_call>',
    '<tool_call>{"arguments": {}}</tool_call>',
    '<tool_call>{"name": "\\ud800", "arguments": {}}</tool_call>',
    '<tool_call>{"name": "f", "arguments": {"x": NaN}}</tool_call>',
    '<tool_call>{"name": "f", "arguments": {"x": 1e999}}</tool_call>',
    '<tool_call>{"name": "f", "arguments": {}} and more</tool_call>',
    '<tool_call>{"name": "f</tool_call>',
    "<tool_call></tool_call>",
    "<tool_call>[]</tool_call>",
    "<tool_call>3</tool_call>",
    "<tool_call>",
    "  <tool_call>\n\n",
    "<tool_c",
    f'<tool_call>{{"name": "f", "arguments": {DEEP}</tool_call>',
]


@pytest.mark.parametrize("answer", BROKEN, ids=range(len(BROKEN)))
def test_what_only_looks_like_a_call_stays_text_to_the_letter(answer):
    for pieces in ([answer], [*answer[:2000], answer[2000:]]):
        assert read(pieces)[:2] == (answer, [])


@settings(deadline=None)  # a busy machine
@given(st.lists(st.sampled_from([*"<tool_call>", "<tool_call>", "</tool_call>", ONE, " ", "\n", '"', "{", "}", "x"])))
def test_no_letter_of_an_answer_is_lost(parts):
    answer = "".join(parts)
    text, calls, _ = read(parts)
    assert read(answer)[:2] == (text, calls) == read([answer])[:2]
    if not calls:
        assert text == answer
    assert "".join(text.split()) == "".join(answer.replace(ONE, "").split()) or len(calls) > answer.count(ONE)


def test_text_is_held_only_where_a_call_may_begin():
    reader = CallReader(HERMES)
    said = [
        reader.push(piece)[0] for piece in ("Hi", " there", "!", " <", "b> a <tool", "box", "\n", "<tool_call>", "\n{")
    ]
    assert said == ["Hi", " there", "!", "", " <b> a", " <toolbox", "", "", ""]
    assert reader.push('"name": "f"}\n</tool_call>')[1][0].name == "f"
    assert reader.push("more") == ("more", [])


def test_a_mark_that_no_json_follows_is_let_go_at_once():
    reader = CallReader(HERMES)
    assert reader.push("The mark <tool_call> opens") == ("The mark <tool_call> opens", [])


def test_calls_come_as_soon_as_they_are_complete():
    *_, steps = read([ONE[:20], ONE[20:], ONE])
    assert [len(found) for _, found in steps] == [0, 1, 1, 0]


def test_one_call_ends_the_answer_where_no_more_are_wanted():
    reader = CallReader(HERMES, parallel=False)
    text, calls = reader.push(f"Well. {ONE} {ONE} more")
    assert (text, len(calls), reader.done) == ("Well.", 1, True)
    assert reader.push("x") == reader.flush() == ("", [])
    assert read(['[TOOL_CALLS][{"name": "a"}, {"name": "b"}]'], MISTRAL, parallel=False)[1] == [("a", {})]


def test_arguments_are_written_as_json_that_any_client_can_read():
    reader = CallReader(HERMES)
    (call,) = reader.push('<tool_call>{"name": "f", "arguments": {"a": "北京 \\ud83d"}}</tool_call>')[1]
    assert call.arguments == '{"a": "北京 \\ud83d"}' and call.arguments.encode()


@pytest.mark.parametrize("size", [1, 4, 1000])
def test_mistral_lists_its_calls_behind_a_mark(size):
    answer = (
        'Sure. [TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Paris"}}, {"name": "now", "arguments": {}}]'
    )
    cut = [answer[i : i + size] for i in range(0, len(answer), size)]
    text, calls, steps = read(cut, MISTRAL)
    assert (text, calls) == ("Sure.", [PARIS, ("now", {})])
    assert all(len(c.id) == 9 and c.id.isalnum() for _, found in steps for c in found)
    broken = f"{answer} and more"
    assert read([broken], MISTRAL)[:2] == (broken, [])


@pytest.mark.parametrize("size", [1, 4, 1000])
@pytest.mark.parametrize(
    "answer, text, calls",
    [
        ('{"name": "weather", "parameters": {"city": "Paris"}}', "", [PARIS]),
        ('\n\n{ "type": "function", "name": "weather", "parameters": {"city": "Paris"}}', "", [PARIS]),
        ('<|python_tag|>{"name": "other", "parameters": {}}; {"name": "x"}', "", [("other", {}), ("x", {})]),
        ('{"name": "weather", "parameters": {"city": "Paris"', None, []),
        ('{"name": "Anna", "parameters": {"age": 3}}', None, []),
        ('{"name": "weather2", "parameters": {}}', None, []),
        ('{"names": ["weather"]}', None, []),
        ('So: {"name": "weather", "parameters": {}}', None, []),
        ('<|python_tag|>brave_search.call(query="x")', None, []),
        ("{", None, []),
        ("", None, []),
    ],
)
def test_llama_answers_with_nothing_but_a_call_of_what_was_offered(answer, text, calls, size):
    cut = [answer[i : i + size] for i in range(0, len(answer), size)]
    assert read(cut, LLAMA, ("now", "weather"))[:2] == (answer if text is None else text, calls)


def test_json_that_calls_nothing_offered_streams_as_it_comes():
    reader = CallReader(LLAMA, ["weather"])
    said = [reader.push(piece)[0] for piece in ('{"', 'name": ', '"Anna"', ", 1")]
    assert said == ["", "", '{"name": "Anna"', ", 1"]


@pytest.mark.parametrize(
    "unit", ["<tool_call>", '<tool_call>{"', "</tool_call>", '<tool_call>{"a": "</tool_call>', " "]
)
def test_a_model_that_repeats_itself_does_not_hold_up_the_server(unit):
    import time

    started = time.process_time()
    pieces = [unit] * 3000
    assert read([*pieces, "</tool_call>"])[0] == unit * 3000 + "</tool_call>"
    assert time.process_time() - started < 5


@pytest.mark.parametrize("form", [HERMES, MISTRAL, LLAMA], ids=["hermes", "mistral", "llama"])
@pytest.mark.parametrize("rest", ["{", '{"name": "a"} x ', '{"a": "'])
def test_an_answer_full_of_broken_calls_is_soon_over(form, rest):
    import time

    answer = (form.opening + rest) * 20_000
    started = time.process_time()
    assert read([answer], form)[:2] == (answer, [])
    assert time.process_time() - started < 3


def test_after_a_hundred_broken_calls_all_is_text():
    broken = '<tool_call>{"name": }</tool_call>'
    assert read([broken * 99 + ONE])[:2] == (broken * 99, [PARIS])
    assert read([broken * 100 + ONE])[:2] == (broken * 100 + ONE, [])


def test_each_call_has_an_id_of_its_own():
    ids = {Format("x").new_id() for _ in range(100)} | {Format("x", id_length=9).new_id() for _ in range(100)}
    assert len(ids) == 200


def collect(pieces, **kw):
    async def source():
        for piece in pieces:
            yield piece

    async def run():
        reader = CallReader(HERMES, **kw)
        return [piece async for piece in with_calls(source(), reader, lambda: cancelled.append(True))]

    cancelled = []
    return asyncio.run(run()), cancelled


@pytest.mark.parametrize(
    "last, parallel, finish",
    [("stop", True, "tool_calls"), ("length", True, "length"), ("stop", False, "tool_calls")],
)
def test_an_answer_with_calls_ends_for_that_reason_unless_it_was_cut_off(last, parallel, finish):
    found, cancelled = collect([Piece("Hm. "), Piece(ONE), Piece("", last)], parallel=parallel)
    assert [p.text for p in found if p.text] == ["Hm."]
    assert [c.name for p in found for c in p.calls] == ["weather"]
    assert [p.finish for p in found if p.finish] == [finish] and found[-1].finish
    assert bool(cancelled) is not parallel


def test_log_probabilities_of_a_call_come_with_it():
    token = [TokenLogprob("x", None, -1.0)]
    cut = [ONE[:10], ONE[10:30], ONE[30:]]
    found, _ = collect([Piece("a", None, token), *(Piece(t, None, token) for t in cut), Piece("", "stop", token)])
    assert [len(p.logprobs) for p in found] == [1, 3, 1] and sum(len(p.calls) for p in found) == 1


def test_a_plain_answer_passes_as_it_is():
    pieces = [Piece("one"), Piece(" two"), Piece("", "length")]
    found, _ = collect(pieces)
    assert [(p.text, p.finish, list(p.calls)) for p in found] == [
        ("one", None, []),
        (" two", None, []),
        ("", "length", []),
    ]
