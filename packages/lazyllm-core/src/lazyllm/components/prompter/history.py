"""What was said before, as text between a model's marks or as messages of a chat API."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import PromptError

_ENCODE = json.JSONEncoder(ensure_ascii=False).encode
ROLES = ("system", "user", "assistant", "tool")
_PAIRS = frozenset((list, tuple))


def check_history(history: Any) -> Sequence[Any]:
    """Return the history, () for None; its turns are looked at when they are used."""
    if history is None:
        return ()
    if isinstance(history, (list, tuple)):
        return history
    raise PromptError(f"A history is a list of [user, assistant] pairs or of messages, not {type(history).__name__}.")


def history_text(history: Sequence[Any], marks: Mapping[str, str]) -> str:
    """Return the turns, each between the model's marks."""
    before, between, behind = marks["soh"], marks["eoh"] + marks["soa"], marks["eoa"]
    if _PAIRS.issuperset(map(type, history)):
        parts, following = [before], behind + before
        try:
            for user, answer in history:
                parts += (user, between, answer, following)
            parts[-1] = behind
            return "".join(parts)
        except (TypeError, ValueError):  # no pair, or something said is no string: see which, below
            pass
    texts: list[str] = []
    for place, turn in enumerate(history):
        where = f"history[{place}]"
        if isinstance(turn, dict):
            texts.append(_message_text(turn, marks, where))
        else:
            user, answer = (content_text(said, where) for said in _pair(turn, where))
            texts.append(f"{before}{user}{between}{answer}{behind}")
    return "".join(texts)


def history_messages(history: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the turns as messages of their own, so that the caller's stay as they are."""
    messages: list[dict[str, Any]] = []
    for place, turn in enumerate(history):
        if isinstance(turn, dict):
            messages.append(as_message(turn, f"history[{place}]"))
            continue
        user, answer = turn if type(turn) is list and len(turn) == 2 else _pair(turn, f"history[{place}]")
        if type(user) is not str or type(answer) is not str:
            user, answer = (_content(said, f"history[{place}]") for said in (user, answer))
        messages += ({"role": "user", "content": user}, {"role": "assistant", "content": answer})
    return messages


def _pair(turn: Any, where: str) -> Sequence[Any]:
    if isinstance(turn, (list, tuple)) and len(turn) == 2:
        return turn
    raise PromptError(f"{where} is neither a pair [user, assistant] nor a message: {turn!r:.80}.")


def _content(said: Any, where: str) -> Any:
    """Return what a chat API takes as content: text, or a list of parts as it is."""
    return said if isinstance(said, list) else content_text(said, where)


def as_message(message: Any, where: str) -> dict[str, Any]:
    """Return a copy of a chat API's message."""
    if isinstance(message, dict) and isinstance(message.get("role"), str):
        return message.copy()
    raise PromptError(f"{where} is no message: expected a dict with role and content, got {message!r:.80}.")


def content_text(content: Any, where: str) -> str:
    """Return a message's content as text; of content in parts, the text parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, (int, float)):
        return str(content)
    if isinstance(content, list) and all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in content):
        return "\n".join(part["text"] for part in content)
    raise PromptError(
        f"{where} has content that is no text: {content!r:.80}.",
        hint="A chat API takes content of other kinds: generate_prompt(…, return_dict=True).",
    )


def _message_text(message: dict[str, Any], marks: Mapping[str, str], where: str) -> str:
    role, content = message.get("role"), message.get("content")
    if role == "user":
        return f"{marks['soh']}{content_text(content, where)}{marks['eoh']}"
    if role == "tool":
        return f"{marks['soe']}{tool_content(content)}{marks['eoe']}"
    if role == "system":
        return f"{marks['sos']}{content_text(content, where)}{marks['eos']}"
    if role != "assistant":
        raise PromptError(f"{where} has the role {role!r}; expected one of {', '.join(ROLES)}.")
    calls = message.get("tool_calls") or ()
    text = "" if content is None and calls else content_text(content, where)
    called = _calls_text(calls, marks, where) if calls else ""
    return f"{marks['soa']}{text}{called}{marks['eoa']}"


def tool_content(content: Any) -> str:
    """Return a tool's result as it came, or as JSON if it is no text."""
    return content if isinstance(content, str) else as_json(content, "A tool's result")


def as_json(value: Any, what: str) -> str:
    """Return `value` as JSON; `what` names it in the error."""
    try:
        return _ENCODE(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise PromptError(f"{what} cannot be written as JSON: {error}.") from error


def _calls_text(calls: Any, marks: Mapping[str, str], where: str) -> str:
    """Return each call between the tool marks: name, mark, JSON arguments; without that mark, one JSON object."""
    texts = []
    for call in calls:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise PromptError(f"{where} has a tool call without a function that has a name: {call!r:.80}.")
        arguments = _arguments(function.get("arguments"), where)
        if marks["tool_args_token"]:
            body = f"{function['name']}{marks['tool_args_token']}{arguments}"
        else:
            body = f'{{"name": {as_json(function["name"], where)}, "arguments": {arguments}}}'
        texts.append(f"{marks['tool_start_token']}\n{body}{marks['tool_end_token']}\n")
    return "".join(texts)


def _arguments(arguments: Any, where: str) -> str:
    """Return arguments as JSON; a chat API sends them as a string that holds JSON already."""
    if isinstance(arguments, str) and arguments.strip():
        try:
            json.loads(arguments)
        except (ValueError, RecursionError):
            return as_json(arguments, where)
        return arguments
    return as_json(arguments or {}, f"The arguments of a tool call in {where}")
