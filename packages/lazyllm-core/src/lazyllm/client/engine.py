"""A client of engines with a protocol of their own, which their deploy class describes."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import InputError, ServiceError, near
from .parameters import check_parameters, spellings
from .transport import Transport


class EngineClient:
    """Asks `url` as `engine` says: its message_format, keys_name_handle, extract_result, stream_* .

    Args:
        engine: a class of `lazyllm.deploy` (see `LazyLLMDeployBase`) whose message_format is not None.
        api_key, timeout: as `OpenAIClient` has them.
    """

    def __init__(self, url: str, engine: Any, *, api_key: str | None = None, timeout: float | None = 600.0) -> None:
        if engine.message_format is None:
            raise InputError(f"{engine.__name__} has no message_format: it is asked in the openai protocol.")
        headers = engine.default_headers
        headers = dict(headers) if isinstance(headers, Mapping) else {}
        self._http = Transport(url, headers=headers, timeout=timeout, api_key=api_key)
        self._engine = engine

    @property
    def url(self) -> str:
        return self._http.url

    def request(self, prompt: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body: the engine's format with the prompt, and the parameters wherever the format has them."""
        check_parameters(parameters)
        if isinstance(prompt, Mapping) and "messages" in prompt:
            prompt = _only_text(prompt["messages"], self._engine.__name__)
        keys = self._engine.keys_name_handle or {"inputs": "inputs"}
        body: dict[str, Any] = copy.deepcopy(dict(self._engine.message_format))
        parts = [body, *(part for part in body.values() if isinstance(part, dict))]
        for name, value in {"inputs": prompt, **parameters}.items():
            wanted = [keys.get(same, same) for same in spellings(name)]
            found = next(((part, key) for key in wanted for part in parts if key in part), None)
            if found is None and name == "inputs" and wanted[0] not in body:
                found = body, wanted[0]  # a format need not show the prompt's place
            if found is None:
                known = [key for part in parts for key in part]
                raise InputError(f"{self._engine.__name__} takes no parameter {name!r}. {near(name, known)}")
            part, key = found
            part[key] = value
        return body

    def ask(self, prompt: Any, /, *, timeout: float | None = None, **parameters: Any) -> Any:
        """Return the answer."""
        text = self._http.fetch("POST", "", self.request(prompt, parameters), timeout=timeout)
        return self._extract(text, prompt)

    def stream(self, prompt: Any, /, *, timeout: float | None = None, **parameters: Any) -> Iterator[str]:
        """Yield the answer as it comes."""
        body = self.request(prompt, parameters)
        if "stream" in body:
            body["stream"] = True
        delimiter = self._engine.stream_parse_parameters().get("delimiter", b"\n")
        delimiter = delimiter.encode() if isinstance(delimiter, str) else delimiter
        for piece in self._http.pieces(self._engine.stream_url_suffix(), body, delimiter, timeout=timeout):
            yield self._extract(piece, prompt)

    def _extract(self, text: str, prompt: Any) -> Any:
        try:
            return self._engine.extract_result(text, prompt)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ServiceError(
                f"{self._engine.__name__}.extract_result fails with {type(error).__name__}: {error}, on {text[:200]!r}."
            ) from error

    def close(self) -> None:
        self._http.close()


def _only_text(messages: Any, engine: str) -> Any:
    """Return the text of a conversation of one message; a longer one needs a prompter that makes a string of it."""
    if len(messages) == 1:
        return messages[0].get("content")
    raise InputError(f"{engine} takes one text, not {len(messages)} messages.", hint="Give the module a prompter.")
