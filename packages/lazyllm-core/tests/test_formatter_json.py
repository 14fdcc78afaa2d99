"""JsonFormatter: what it finds in answers, and how long that may take."""

import json
import math
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazyllm.components.formatter import JsonFormatter
from lazyllm.components.formatter.json_text import DEEPEST, _Scanner, find_json
from lazyllm.errors import FormatError


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ("[1, 2]", [1, 2]),
        ('[{"a": 1}]', [{"a": 1}]),
        ("[]", []),
        ("{}", {}),
        ('Sure! Here it is:\n```json\n{"a": [1, {"b": "x"}]}\n```\nAnything else?', {"a": [1, {"b": "x"}]}),
        ('{"a": 1} and {"b": 2}', [{"a": 1}, {"b": 2}]),
        ('see [1] and {"a": 2}', [[1], {"a": 2}]),
        ('{"a": "braces } ] in \\"strings\\" {["}', {"a": 'braces } ] in "strings" {['}),
        ('use {braces} like {this}: {"a": 1}', {"a": 1}),
        ('an open { here, [ there, {"a": 1} and } or ]', {"a": 1}),
        ('{"a": [1,2}, {"b": 3}', {"b": 3}),
        ('[{"a": 1}, {"b": 2}, {"c": tru', [{"a": 1}, {"b": 2}]),
        ('["foo, see {"a": 1}', {"a": 1}),
        ('[link](http://x) - [ ] todo {"a": 1}', [[], {"a": 1}]),
        ('{"a": 1, "a": 2}', {"a": 2}),
        (
            '{"a": -1.5e3, "b": [true, false, null], "c": "\\u00e9\\n"}',
            {"a": -1500, "b": [True, False, None], "c": "é\n"},
        ),
        ('{"中文": "值"}', {"中文": "值"}),
    ],
)
def test_what_is_found(answer: str, value: Any) -> None:
    assert JsonFormatter()(answer) == value
    found = _Scanner(answer).values(0)
    assert (found[0] if len(found) == 1 else found) == value


@pytest.mark.parametrize(
    "answer",
    ["", "  ", "I have 3 apples", '"text"', "null", "{'a': 1}", "{a: 1}", "[1, 2", '{"a": "x\ny"}', "{{{", "]]"],
)
def test_nothing_found_is_an_error_that_quotes_the_answer(answer: str) -> None:
    with pytest.raises(FormatError) as error:
        JsonFormatter()(answer)
    assert repr(answer) in str(error.value) if answer.strip() else "empty" in str(error.value)


def test_what_is_no_text_is_data_already() -> None:
    assert JsonFormatter("[a]")({"a": 1}) == 1
    assert JsonFormatter()(None) is None


def test_numbers_beyond_json_are_read_as_json_loads_reads_them() -> None:
    found = JsonFormatter()('{"a": NaN, "b": [Infinity, -Infinity]} {')
    assert math.isnan(found["a"])
    assert found["b"] == [math.inf, -math.inf]
    with pytest.raises(FormatError):
        JsonFormatter()("[" + "9" * 10_000 + "]")


PIECES = ["[", "]", "{", "}", '"', ":", ",", "1", '"a"', '"b":', "\\", '\\"', "true", "-", "1.5", "x", " ", "\n"]
PIECES += ["[1]", '{"a":1}', '"[', ']"', '"x [1] y"', "null", "0", "e5", "\\u00e9", '"\\n"', "NaN", '"k":[', "é"]


def plainly(text: str) -> list[Any]:
    """The definition: decode at each bracket from the left, quadratic."""
    values, place, decode = [], 0, json.JSONDecoder().raw_decode
    while found := re.compile(r"[\[{]").search(text, place):
        try:
            value, place = decode(text, found.start())
            values.append(value)
        except ValueError:
            place = found.start() + 1
    return values


@settings(deadline=None, max_examples=500)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_both_ways_to_search_find_what_the_definition_finds(text: str) -> None:
    expected = repr(plainly(text))
    assert repr(find_json(text)) == expected
    assert repr(_Scanner(text).values(0)) == expected


HOSTILE = {
    "brackets": "[", "braces": "{", "strings": '["', "keys": '{"', "crossed": '"["', "objects": '{"a":', "items": "[1,",
    "prose": "[x", "escapes": '["\\"', "lines": '["\n', "two readings": '",[",', "quotes": '"', "mixed": '["{',
}  # fmt: skip


class CountedScanner(_Scanner):
    reads = 0

    def _read(self, start: int) -> None:
        self.reads += 1
        super()._read(start)


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE)
def test_hostile_answers_are_read_in_linear_time(piece: str) -> None:
    """Ten times the text takes about ten times as long; a quadratic search would take a hundred times."""
    import time

    def seconds(length: int) -> float:
        answer = "[" + piece * (length // len(piece))
        start = time.process_time()
        assert find_json(answer) == []
        return time.process_time() - start

    small = min(seconds(10_000) for _ in range(3))
    assert seconds(100_000) < 60 * max(small, 0.01)


def test_each_bracket_is_read_once() -> None:
    for piece in HOSTILE.values():
        scanner = CountedScanner(piece * 1000)
        scanner.values(0)
        assert scanner.reads <= 1000 * len(re.findall(r"[\[{]", piece))


@pytest.mark.parametrize("depth", [5_000, 100_000])
def test_nesting_too_deep_counts_as_nothing(depth: int) -> None:
    for answer in ("[" * depth + "]" * depth, "[" * depth, '{"a":' * depth + "1" + "}" * depth):
        with pytest.raises(FormatError):
            JsonFormatter()(answer)
    deep = "[" * depth + "]" * depth
    assert JsonFormatter()(deep + ' {"a": 1}') == {"a": 1}


def test_nesting_that_is_deep_enough_is_found() -> None:
    depth = DEEPEST // 2
    assert json.dumps(JsonFormatter()("[" * depth + "]" * depth)) == "[" * depth + "]" * depth


def test_many_small_values() -> None:
    assert JsonFormatter()("[1] " * 20_000) == [[1]] * 20_000
