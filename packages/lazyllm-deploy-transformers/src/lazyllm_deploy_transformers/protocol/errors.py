"""Errors in the form that OpenAI clients read."""

from __future__ import annotations

from typing import Any

from lazyllm.errors import LazyLLMError

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    500: "server_error",
    503: "service_unavailable",
}


def brief(text: str, most: int = 100) -> str:
    """Return what a client sent as its error repeats it: cut where it is long, so that it costs nothing to answer."""
    return text if len(text) <= most else text[:most] + "…"


class ApiError(LazyLLMError):
    """A request that gets no answer. `status` is the HTTP status, `param` the field at fault, `code` a short name."""

    def __init__(self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None) -> None:
        self.status = status
        self.param = param
        self.code = code
        super().__init__(message)

    def to_json(self) -> dict[str, Any]:
        kind = _TYPES.get(self.status, "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def unavailable(message: str) -> ApiError:
    """Return the 503 of a server that is starting, stopping or dead."""
    return ApiError(message, status=503, code="unavailable")
