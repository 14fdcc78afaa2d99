"""A ChatPrompter in a UrlModule: messages for a chat API, a string once the model's marks are known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from lazyllm import ChatPrompter, UrlModule


def asked(module: UrlModule, *args: Any, **kw: Any) -> Any:
    """Return what the module would send."""
    sent: list[Any] = []
    module._client = SimpleNamespace(ask=lambda prompt, **_: sent.append(prompt) or "")  # type: ignore[assignment]
    module._url = "http://127.0.0.1:1/v1"
    module(*args, **kw)
    return sent[0]


def test_messages_by_default() -> None:
    sent = asked(UrlModule().prompt(ChatPrompter("Be brief.")), "hi", history=[["a", "b"]])
    assert [m["role"] for m in sent["messages"]] == ["system", "user", "assistant", "user"]
    assert sent["messages"][0]["content"].strip().endswith("Be brief.")


def test_an_instruction_alone_makes_one() -> None:
    sent = asked(UrlModule().prompt("Be brief."), "hi")
    assert sent["messages"][-1] == {"role": "user", "content": "hi"}


def test_a_string_with_the_models_marks() -> None:
    prompter = ChatPrompter("Be brief.")
    prompter._set_model_configs(soh="<user>", eoh="</user>")
    assert "<user>" in asked(UrlModule().prompt(prompter), "hi")
