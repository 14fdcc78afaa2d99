"""The routes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from lazyllm.errors import near

from .http import Json, KeyGuard, failure, read_json
from .protocol.errors import ApiError, brief, unavailable
from .protocol.requests import Endpoint, read_chat, read_completion
from .serving import Serving, api_error
from .state import State


def make_app(state: State, key: str | None) -> ASGIApp:
    """Return the application; with a `key` everything but /health asks for it."""
    api = Api(state)
    app = Starlette(
        routes=[
            Route("/health", api.health),
            Route("/metrics", api.metrics),
            Route("/v1/models", api.models),
            Route("/v1/models/{name:path}", api.model),
            Route("/v1/chat/completions", api.chat, methods=["POST"]),
            Route("/v1/completions", api.completions, methods=["POST"]),
        ],
        exception_handlers={ApiError: _failed, HTTPException: _no_route, Exception: _failed},
    )
    return KeyGuard(app, key) if key else app


async def _failed(request: Request, error: Exception) -> Response:
    return failure(api_error(error))


async def _no_route(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    if status == 405:
        allowed = (getattr(error, "headers", None) or {}).get("Allow", "")
        said = f"{request.method} is not allowed for {brief(request.url.path)}; it takes {allowed}."
        response = failure(ApiError(said, status=405))
        response.headers["Allow"] = allowed
        return response
    known = ["/v1/chat/completions", "/v1/completions", "/v1/models", "/health", "/metrics"]
    path = brief(request.url.path)
    return failure(ApiError(f"There is no {path}. {near(path, known)}", status=status))


class Api:
    """The handlers over one server's state."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def health(self, request: Request) -> Response:
        """200 while requests are taken: not before the first token was computed, nor after the engine's death."""
        return Json({"status": self._state.phase}, 200 if self._state.phase == "ready" else 503)

    async def metrics(self, request: Request) -> Response:
        state = self._state
        c = state.engine.counts() if state.loaded else None
        text = state.metrics.render(
            running=c.running if c else 0, waiting=c.waiting if c else 0, computed=c.tokens if c else 0
        )
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    async def models(self, request: Request) -> Response:
        self._state.require_ready()
        return Json({"object": "list", "data": [self._state.card()]})

    async def model(self, request: Request) -> Response:
        self._state.require_ready()
        self._state.check_model(request.path_params["name"])
        return Json(self._state.card())

    async def chat(self, request: Request) -> Any:
        return await self._answer("chat", self._chat(request))

    async def completions(self, request: Request) -> Any:
        return await self._answer("completions", self._completion(request))

    async def _answer(self, endpoint: Endpoint, work: Awaitable[Serving]) -> Any:
        try:
            return await work
        except asyncio.CancelledError:
            if self._state.phase == "ready":
                raise
            # a request that was still on its way when the server's time was up
            return failure(unavailable("The server is stopping and takes no new requests."))
        except Exception as e:
            error = api_error(e)
            self._state.metrics.requests[endpoint, error.status] += 1
            return failure(error)

    async def _chat(self, request: Request) -> Serving:
        state = self._state
        state.require_ready()
        asked = read_chat(await read_json(request))
        state.check_model(asked.model)
        prompt = await state.text.encode_chat(asked.messages, asked.template, asked.params.tools)
        state.require_ready()
        return Serving(state, "chat", [prompt], asked.params)

    async def _completion(self, request: Request) -> Serving:
        state = self._state
        state.require_ready()
        asked = read_completion(await read_json(request))
        state.check_model(asked.model)
        prompts = [await state.text.encode(p) if isinstance(p, str) else p for p in asked.prompts]
        echo = None
        if asked.echo:
            decode = state.text.decoder(asked.params.skip_special_tokens)
            echo = [p if isinstance(p, str) else decode(p) for p in asked.prompts]
        state.require_ready()
        return Serving(state, "completions", prompts, asked.params, echo)
