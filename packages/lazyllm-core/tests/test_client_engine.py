"""Bodies of requests to engines with a protocol of their own."""

from __future__ import annotations

from typing import Any

import pytest

from lazyllm.client.engine import EngineClient
from lazyllm.errors import InputError


class Engine:
    message_format: Any = {"data": {"prompt": "Who are you ?", "max_new_tokens": 5}, "stop_words": None}
    keys_name_handle: Any = {"inputs": "prompt", "stop": "stop_words"}
    default_headers: Any = {}


def body(engine: type, prompt: str, **parameters: Any) -> Any:
    return EngineClient("http://127.0.0.1:1/generate", engine).request(prompt, parameters)


def test_a_prompt_stands_where_the_format_has_it() -> None:
    assert body(Engine, "hi") == {"data": {"prompt": "hi", "max_new_tokens": 5}, "stop_words": None}
    assert Engine.message_format["data"]["prompt"] == "Who are you ?"


def test_parameters_go_by_any_of_their_names() -> None:
    told = {"data": {"prompt": "hi", "max_new_tokens": 3}, "stop_words": ["x"]}
    for names in ({"max_tokens": 3, "stop": ["x"]}, {"max_new_tokens": 3, "stop_sequences": ["x"]}):
        assert body(Engine, "hi", **names) == told


def test_a_prompt_that_the_format_does_not_show_stands_at_its_top() -> None:
    class Bare(Engine):
        message_format = {"limit": 3}
        keys_name_handle = None

    assert body(Bare, "hi") == {"limit": 3, "inputs": "hi"}
    with pytest.raises(InputError, match="takes no parameter 'limi'.*'limit'"):
        body(Bare, "hi", limi=3)


def test_an_engine_need_not_name_the_prompts_key() -> None:
    class Unnamed(Engine):
        message_format = {"inputs": ""}
        keys_name_handle = {"stop": "stop_words"}

    assert body(Unnamed, "hi") == {"inputs": "hi"}
