"""Formatters, chains of them, and queries with files."""

from typing import Any

import pytest

from lazyllm.common.package import package
from lazyllm.components.formatter import (
    EmptyFormatter,
    FormatterBase,
    JsonFormatter,
    LazyLLMFormatterBase,
    decode_query_with_filepaths,
    encode_query_with_filepaths,
)
from lazyllm.errors import InputError


class LinesFormatter(FormatterBase):
    def _load(self, msg: str) -> Any:
        return msg.splitlines()

    def _parse_py_data_by_formatter(self, py_data: Any) -> Any:
        return [str(line).strip() for line in py_data]


class SpreadFormatter(FormatterBase):
    def _parse_py_data_by_formatter(self, py_data: Any) -> Any:
        return package(*py_data)


def test_an_authors_formatter_loads_text_only() -> None:
    import lazyllm

    formatter = LinesFormatter()
    assert formatter.format(" a \nb") == formatter(" a \nb") == ["a", "b"]
    assert formatter.format([" x ", 1]) == ["x", "1"]
    assert formatter(" x ", " y") == ["x", "y"]
    assert lazyllm.formatters.lines is LinesFormatter
    assert lazyllm.formatters.json is JsonFormatter
    assert FormatterBase is LazyLLMFormatterBase


def test_the_base_class_asks_to_be_completed() -> None:
    with pytest.raises(NotImplementedError, match="_parse_py_data_by_formatter"):
        FormatterBase().format("x")


def test_the_empty_formatter_changes_nothing() -> None:
    data = {"a": [1]}
    assert EmptyFormatter()(data) is data
    assert EmptyFormatter()("x") == "x"
    several = EmptyFormatter()("a", "b")
    assert several == ("a", "b")
    assert isinstance(several, package)
    assert EmptyFormatter()() == ()


def test_chains_are_formatters_whatever_their_grouping() -> None:
    first, second, third = LinesFormatter(), SpreadFormatter(), EmptyFormatter()
    for chain in ((first | second) | third, first | (second | third)):
        assert isinstance(chain, FormatterBase)
        assert chain("a\nb") == package("a", "b")
        assert chain.format(" x ") == package("x")[0]
    assert (JsonFormatter("[0]") | JsonFormatter("[k]"))('[{"k": 1}]') == 1
    with pytest.raises(TypeError):
        first | str  # type: ignore[operator]


def test_a_chain_is_not_a_name_of_its_own() -> None:
    import lazyllm

    assert not [name for name in dir(lazyllm.formatters) if "chain" in name]


@pytest.mark.parametrize(("query", "files"), [("q", ["a.png"]), ("", ["é.wav", "b c"]), ("<lazyllm-query>{", ["x"])])
def test_queries_with_files_come_back(query: str, files: list[str]) -> None:
    encoded = encode_query_with_filepaths(query, files)
    assert encoded.startswith("<lazyllm-query>{")
    assert decode_query_with_filepaths(encoded) == {"query": query, "files": files}


def test_the_encoded_text() -> None:
    assert encode_query_with_filepaths("q", ["a"]) == '<lazyllm-query>{"query": "q", "files": ["a"]}'
    assert encode_query_with_filepaths(files="a") == '<lazyllm-query>{"query": "", "files": ["a"]}'
    assert encode_query_with_filepaths("q") == encode_query_with_filepaths("q", []) == "q"
    assert decode_query_with_filepaths(" plain ") == " plain "


@pytest.mark.parametrize("text", ["{bad", "[1]", '{"query": 1}', '{"files": "x"}', '{"files": [1]}', "", "[" * 100000])
def test_malformed_queries_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        decode_query_with_filepaths("<lazyllm-query>" + text)


def test_what_is_no_text_is_refused() -> None:
    for call in (
        lambda: decode_query_with_filepaths(3),  # type: ignore[arg-type]
        lambda: encode_query_with_filepaths(3, ["a"]),  # type: ignore[arg-type]
        lambda: encode_query_with_filepaths("q", [1]),  # type: ignore[list-item]
        lambda: encode_query_with_filepaths("q", {"a": 1}),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError):
            call()
