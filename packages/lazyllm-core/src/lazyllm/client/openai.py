"""A client of servers that speak the OpenAI protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import InputError, ServiceError
from .parameters import SPELLINGS, check_parameters
from .transport import Transport


class OpenAIClient:
    """Asks `url` (`http://host:port/v1`): prompts that are strings go to /completions, messages to /chat/completions.

    Args:
        model: the model's name; by default the first that the server lists, looked up again once it serves another.
        api_key: by default `config["api_key"]`, or the key of this user's job that serves the URL.
        timeout: seconds without a byte after which a request is given up.
    """

    def __init__(
        self, url: str, *, model: str | None = None, api_key: str | None = None, timeout: float | None = 600.0
    ) -> None:
        self._http = Transport(url, timeout=timeout, api_key=api_key)
        self._model = model
        self._named = model is not None

    @property
    def url(self) -> str:
        return self._http.url

    def models(self) -> list[str]:
        """Return the names of the models that are served."""
        try:
            answer = self._http.fetch_json("GET", "/models", timeout=min(30, self._http.timeout or 30))
        except ServiceError as error:
            if error.status == 404 and not error.hint:
                error = ServiceError(error.message, hint=f"Is it {self.url}/v1?", status=404)
            raise error from None
        try:
            return [model["id"] for model in answer["data"]]
        except (TypeError, KeyError):
            raise ServiceError(f"{self.url}/models is not of the OpenAI protocol: {str(answer)[:200]}") from None

    @property
    def model(self) -> str:
        if self._model is None:
            self._model = self._look_up()
        return self._model

    def _look_up(self) -> str:
        names = self.models()
        if not names:
            raise ServiceError(f"{self.url} serves no model.")
        return names[0]

    def request(self, prompt: str | Mapping[str, Any], parameters: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the path and the body for a prompt: a string, or a mapping with `messages`."""
        check_parameters(parameters)
        body: dict[str, Any] = {"model": self.model}
        for name, value in parameters.items():
            body[SPELLINGS.get(name, name)] = value
        if body.pop("do_sample", None) is False:
            body["temperature"] = 0
        if isinstance(prompt, str):
            # without a limit the protocol's is 16 tokens; null leaves it to the server, as in /chat/completions
            return "/completions", {"max_tokens": None, **body, "prompt": prompt}
        if isinstance(prompt, Mapping) and isinstance(prompt.get("messages"), (list, tuple)):
            extra = {k: v for k, v in prompt.items() if k != "tools" or v}
            return "/chat/completions", {**body, **extra}
        raise InputError(f"A prompt is a string or a mapping with 'messages', not {prompt!r}.")

    def _renamed(self, body: Mapping[str, Any], parameters: Mapping[str, Any], error: ServiceError) -> dict[str, Any]:
        """Return `body` with the model's name looked up anew; raise `error` if that was not what the server lacks."""
        if error.status != 404 or self._named or "model" in parameters:
            raise error
        if self.model == body["model"]:  # else another thread was faster
            self._model = self._look_up()
        if self.model == body["model"]:
            raise error
        return {**body, "model": self.model}

    def ask(self, prompt: str | Mapping[str, Any], /, *, timeout: float | None = None, **parameters: Any) -> Any:
        """Return the answer's text; with tool calls, the assistant's whole message; with n > 1, a list."""
        path, body = self.request(prompt, parameters)
        try:
            answer = self._http.fetch_json("POST", path, body, timeout=timeout)
        except ServiceError as error:
            body = self._renamed(body, parameters, error)
            answer = self._http.fetch_json("POST", path, body, timeout=timeout)
        try:
            found = [_content(choice) for choice in answer["choices"]]
        except (TypeError, KeyError, AttributeError):
            found = []
        if not found:
            raise ServiceError(f"{self.url}{path} answered without choices: {str(answer)[:200]}")
        return found[0] if len(found) == 1 else found

    def stream(
        self, prompt: str | Mapping[str, Any], /, *, timeout: float | None = None, **parameters: Any
    ) -> Iterator[Any]:
        """Yield the answer's text as it comes; with tool calls, the assistant's whole message is the last piece.

        Closing the iterator ends the request.
        """
        path, body = self.request(prompt, parameters)
        if body.get("n") not in (None, 1):
            raise InputError(f"n={body['n']!r}: one answer can be streamed at a time.", hint="Leave stream out, or n.")
        said: list[str] = []
        calls: dict[int, dict[str, Any]] = {}
        for event in self._events(path, {**body, "stream": True}, parameters, timeout):
            for choice in event.get("choices") or ():
                delta = choice.get("delta") or {}
                for part in delta.get("tool_calls") or ():
                    _join(calls, part)
                if text := choice.get("text") or delta.get("content"):
                    said.append(text)
                    yield text
        if calls:
            yield {"role": "assistant", "content": "".join(said) or None, "tool_calls": [*calls.values()]}

    def _events(
        self, path: str, body: dict[str, Any], parameters: Mapping[str, Any], timeout: float | None
    ) -> Iterator[Any]:
        try:
            yield from self._http.events(path, body, timeout=timeout)
        except ServiceError as error:  # a 404 comes before the first event
            yield from self._http.events(path, self._renamed(body, parameters, error), timeout=timeout)

    def close(self) -> None:
        self._http.close()


def _join(calls: dict[int, dict[str, Any]], part: Mapping[str, Any]) -> None:
    """Add a streamed part of a tool call to those that have come."""
    empty = {"id": None, "type": "function", "function": {"name": "", "arguments": ""}}
    call = calls.setdefault(part.get("index", 0), empty)
    call["id"] = part.get("id") or call["id"]
    for name, text in (part.get("function") or {}).items():
        call["function"][name] = call["function"].get(name, "") + (text or "")


def _content(choice: Mapping[str, Any]) -> Any:
    if "message" not in choice:
        return choice["text"]
    message = choice["message"]
    return message if message.get("tool_calls") else message.get("content") or ""
