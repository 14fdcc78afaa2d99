"""Formatters: what becomes of a model's answer before the caller gets it."""

from __future__ import annotations

from .base import EmptyFormatter, FormatterBase, LazyLLMFormatterBase
from .json import JsonFormatter
from .query import decode_query_with_filepaths, encode_query_with_filepaths

__all__ = [
    "EmptyFormatter",
    "FormatterBase",
    "JsonFormatter",
    "LazyLLMFormatterBase",
    "decode_query_with_filepaths",
    "encode_query_with_filepaths",
]
