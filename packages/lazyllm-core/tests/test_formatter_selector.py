"""Selectors: one bracket a level."""

from typing import Any

import pytest

from lazyllm.common.package import package
from lazyllm.components.formatter import JsonFormatter
from lazyllm.errors import SelectorError

BOOKS = [
    {"title": "A", "describe": "a", "tags": ["x", "y", "z"], "by": {"name": "N", "born": 1}},
    {"title": "B", "describe": "b", "tags": ["u", "v", "w"], "by": {"name": "M", "born": 2}},
    {"title": "C", "describe": "c", "tags": ["r", "s", "t"], "by": {"name": "L", "born": 3}},
]


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        (None, BOOKS),
        ("", BOOKS),
        ("[:]", BOOKS),
        ("[1:]", BOOKS[1:]),
        ("[::2]", BOOKS[::2]),
        ("[-2:]", BOOKS[-2:]),
        ("[::-1]", BOOKS[::-1]),
        ("[0]", BOOKS[0]),
        ("[-1]", BOOKS[-1]),
        ("[0,2]", [BOOKS[0], BOOKS[2]]),
        ("[:][title]", ["A", "B", "C"]),
        (" [ : ] [ title ] ", ["A", "B", "C"]),
        ("[0,2][title]", ["A", "C"]),
        ("[0][title]", "A"),
        ("[0][title,describe]", ["A", "a"]),
        ("[:]{title,describe}", [{"title": b["title"], "describe": b["describe"]} for b in BOOKS]),
        ("[0]{title}", {"title": "A"}),
        ("[0]{:}", BOOKS[0]),
        ("[0][by][:]", ["N", 1]),
        ("[0]{by}[name]", {"by": "N"}),
        ("[:][tags][0]", ["x", "u", "r"]),
        ("[:][tags][0,2]", [["x", "z"], ["u", "w"], ["r", "t"]]),
        ("[:2][tags][:2]", [["x", "y"], ["u", "v"]]),
        ("[:][by]{name}", [{"name": "N"}, {"name": "M"}, {"name": "L"}]),
        ("[5:][title]", []),
    ],
)
def test_what_is_selected(selector: str | None, selected: Any) -> None:
    assert JsonFormatter(selector)(BOOKS) == selected


def test_a_star_makes_a_package() -> None:
    made = JsonFormatter("*[0][title,describe]")(BOOKS)
    assert made == ("A", "a")
    assert isinstance(made, package)
    assert JsonFormatter("*[:][title]")(BOOKS) == package("A", "B", "C")
    assert JsonFormatter("*[0][by]")(BOOKS) == package((BOOKS[0]["by"],))


@pytest.mark.parametrize(
    "selector",
    ["foo", "[abc", "abc]", "*", "**[0]", "[*]", "[]", "{}", "[a,]", "{a:b}", "[1:2:3:4]", "[a:b]", "[::0]", "[[0]]",
     ":", '["title"]', "[0]x", "[0]]", "{a}{", 5, ["a"], "[0]" * 200],
)  # fmt: skip
def test_bad_selectors_are_refused_at_construction(selector: Any) -> None:
    with pytest.raises(SelectorError):
        JsonFormatter(selector)


@pytest.mark.parametrize(
    ("selector", "said"),
    [
        ("[0][titel]", r"\[0\] selects has no key 'titel'. Did you mean 'title'"),
        ("[9]", "has no item 9: the list has 3"),
        ("[title]", r"is a list; \[title\] needs an object with the key 'title'"),
        ("[0][:2]", r"is an object; \[:2\] needs a list"),
        ("[:][title][0]", r"Item 0 of what \[:\]\[title\] selects|What \[:\]\[title\] selects is a string"),
        ("[:]{nope}", r"Item 0 of what \[:\] selects has no key 'nope'"),
        ("{title}", r"is a list; \{title\} needs an object"),
    ],
)
def test_data_that_does_not_fit_is_named(selector: str, said: str) -> None:
    with pytest.raises(SelectorError, match=said):
        JsonFormatter(selector)(BOOKS)
