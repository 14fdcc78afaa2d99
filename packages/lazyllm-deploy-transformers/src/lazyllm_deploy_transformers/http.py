"""ASGI pieces: JSON answers, event streams that stop with their client, the API key's guard."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from .protocol.errors import ApiError, brief
from .protocol.responses import to_json

BODY_LIMIT = 16 * 2**20
BODY_SECONDS = 60.0


class Json(Response):  # type: ignore[misc]
    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return to_json(content)


def failure(error: ApiError) -> Json:
    return Json(error.to_json(), error.status)


async def read_json(request: Request) -> Any:
    """Return the decoded body.

    Raises:
        ApiError: not declared as JSON (what a page in a browser may send to any server is not), too long or too slow,
            not UTF-8, no JSON, or JSON that nests without end.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(
            f"The request's Content-Type is {brief(kind) or 'missing'}, not application/json: send the header "
            "'Content-Type: application/json' (curl: -H 'Content-Type: application/json').",
            status=415,
        )
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > BODY_LIMIT:
                    raise ApiError(f"The request's body is longer than {BODY_LIMIT >> 20} MiB.", status=413)
    except TimeoutError:
        raise ApiError(f"The request's body did not come within {BODY_SECONDS:g} s.", status=408) from None
    except ClientDisconnect:
        raise ApiError("The client left before its request was complete.", status=499) from None

    def constant(name: str) -> Any:
        raise ValueError(f"{name} is no JSON number")

    try:
        return json.loads(bytes(body), parse_constant=constant)
    except RecursionError:
        raise ApiError("The request's body nests too deeply.") from None
    except ValueError as e:
        raise ApiError(f"The request's body is not valid JSON: {e}.") from None


class Watched:
    """A response that runs `work`, and cancels it when the client goes away before its end."""

    def __init__(self, work: Callable[[Send], Awaitable[None]], gone: Callable[[], None]) -> None:
        self._work = work
        self._gone = gone

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        work = asyncio.ensure_future(self._work(send))
        leaving = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                self._gone()
                work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        finally:
            leaving.cancel()
            work.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def start_events(send: Send) -> None:
    """Send the head of an event stream."""
    headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
    await send({"type": "http.response.start", "status": 200, "headers": [*headers, (b"x-accel-buffering", b"no")]})


async def send_events(send: Send, events: bytes, *, last: bool = False) -> None:
    """Send one or more events; `last` ends the stream."""
    await send({"type": "http.response.body", "body": events, "more_body": not last})


class KeyGuard:
    """Lets requests through that carry the API key; /health is open, since launchers probe it without one."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._key = key.encode(errors="surrogateescape")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == "/health" or self._allowed(scope):
            await self._app(scope, receive, send)
            return
        error = ApiError(
            "A valid API key is needed: send it as 'Authorization: Bearer KEY'.", status=401, code="invalid_api_key"
        )
        response = failure(error)
        response.headers["WWW-Authenticate"] = "Bearer"
        await response(scope, receive, send)

    def _allowed(self, scope: Scope) -> bool:
        for name, value in scope["headers"]:
            if name == b"authorization":
                scheme, _, given = value.partition(b" ")
                return scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(), self._key)
        return False
