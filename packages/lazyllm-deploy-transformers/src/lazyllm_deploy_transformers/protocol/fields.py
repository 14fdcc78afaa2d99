"""Typed readers of a JSON request's fields: every mistake is a 400 that names the field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .errors import ApiError, brief

LONGEST_STOP = 1000


def wrong(name: str, expected: str, value: Any) -> ApiError:
    """Return the error of a field that holds something else than what was expected."""
    return ApiError(f"{name} must be {expected}, not {shown(value)}.", param=name, code="invalid_type")


def shown(value: Any) -> str:
    """Return, for an error, what a field holds: JSON's names for values, the kind alone of lists and objects."""
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "an object"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float) and math.isinf(value):
        return "a number that large"
    return brief(repr(value), 60)


def text(value: Any, name: str) -> str:
    """Return `value` if it is text that can be encoded (JSON may carry half of a surrogate pair)."""
    if not isinstance(value, str):
        raise wrong(name, "a string", value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ApiError(f"{name} holds half of a surrogate pair: it is no valid Unicode text.", param=name) from None
    return value


def flag(body: Mapping[str, Any], name: str, default: bool = False) -> bool:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise wrong(name, "true or false", value)
    return value


def whole(body: Mapping[str, Any], name: str, low: int, high: int | None = None) -> int | None:
    """Return the whole number under `name`, None if it is absent or null."""
    value = body.get(name)
    if value is None:
        return None
    limits = f"from {low} to {high}" if high is not None else f"of {low} or more"
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong(name, f"a whole number {limits}", value)
    if value < low or (high is not None and value > high):
        raise ApiError(f"{name} must be a whole number {limits}, not {shown(value)}.", param=name, code="invalid_value")
    return value


def number(body: Mapping[str, Any], name: str, low: float, high: float, *, above: bool = False) -> float | None:
    """Return the number under `name`, None if absent or null; `above` leaves `low` itself out."""
    value = body.get(name)
    if value is None:
        return None
    limits = f"{'above' if above else 'from'} {low:g} {'and up to' if above else 'to'} {high:g}"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise wrong(name, f"a number {limits}", value)
    if not low <= value <= high or (above and value == low) or math.isnan(value):
        raise ApiError(f"{name} must be a number {limits}, not {shown(value)}.", param=name, code="invalid_value")
    return float(value)


def mapping(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise wrong(name, "an object", value)
    return value


def stops(body: Mapping[str, Any], most: int = 16) -> tuple[str, ...]:
    """Return the stop strings: null, a string or a list of them."""
    value = body.get("stop")
    if value is None:
        return ()
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list):
        raise wrong("stop", "a string or a list of strings", value)
    if len(items) > most:
        raise ApiError(f"stop takes at most {most} strings, not {len(items)}.", param="stop", code="invalid_value")
    found = tuple(text(item, "stop") for item in items)
    if any(len(item) > LONGEST_STOP for item in found):
        raise ApiError(f"stop takes strings of at most {LONGEST_STOP} characters.", param="stop", code="invalid_value")
    if "" in found:
        raise ApiError("stop holds an empty string, which would end every answer at once.", param="stop")
    return tuple(dict.fromkeys(found))


def logit_bias(body: Mapping[str, Any]) -> dict[int, float]:
    """Return token id → bias; whether the ids exist is checked against the vocabulary later."""
    found = {}
    values = mapping(body, "logit_bias")
    for key in values:
        if not (isinstance(key, str) and key.isascii() and key.isdecimal() and len(key) < 12):
            raise wrong("logit_bias", "an object of token ids and numbers", key)
        try:
            found[int(key)] = number(values, key, -100, 100) or 0.0
        except ApiError as e:
            raise ApiError(f"logit_bias of token {e.message}", param="logit_bias", code=e.code) from None
    return found
