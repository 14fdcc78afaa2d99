"""A server process from the first connection to its end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import uvicorn

from lazyllm.errors import LazyLLMError

from .address import url_of
from .app import make_app
from .arguments import KEY, Settings
from .batching.loading import quiet_environment
from .checks import one_line
from .memory import keep_freed
from .state import State
from .threads import default_threads

LOG = logging.getLogger("lazyllm.server")


class _Uvicorn(uvicorn.Server):  # type: ignore[misc]
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `Server`: uvicorn would close the port at once, where we answer 503 until the end."""
        yield


class Server:
    """Answers 503 while the model loads, serves, drains on the first SIGTERM and ends at the second."""

    def __init__(self, settings: Settings, sock: socket.socket, name: str) -> None:
        self._settings = settings
        self._sock = sock
        self._state = State(settings.model, settings.model_name or name)
        self._threads = settings.threads or default_threads()
        self._code = 0
        self._ended = False

    def run(self) -> int:
        """Serve until the end; return the exit code."""
        quiet_environment(self._threads)
        keep_freed()
        app = make_app(self._state, os.environ.get(KEY, "").strip() or None)
        config = uvicorn.Config(
            app, http="h11", ws="none", lifespan="off", log_config=None, access_log=False, server_header=False,
            timeout_keep_alive=30, timeout_graceful_shutdown=2, backlog=2048, log_level="error",
        )  # fmt: skip
        self._uvicorn = _Uvicorn(config)
        asyncio.run(self._main())
        return self._code

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._signal, number)
        threading.Thread(target=self._load, name="load", daemon=True).start()
        await self._uvicorn.serve([self._sock])

    def _load(self) -> None:
        """Runs in a thread: the port answers meanwhile."""
        started = time.monotonic()
        try:
            from .batching.engine import Engine
            from .text import Text

            engine = Engine(self._settings, self._threads)
            line = engine.start(self._loop)
            text = Text(engine.tokenizer, engine.sizing.max_model_len)
            # a full collection would look at a million objects of the libraries, and hold up every answer meanwhile
            gc.freeze()
        except LazyLLMError as e:
            LOG.error("%s", e)
            self._call(self._end, 2)
        except BaseException:
            LOG.exception("The model could not be started.")
            self._call(self._end, 2)
        else:
            LOG.info("%s", line)
            self._call(self._ready, engine, text, time.monotonic() - started)

    def _call(self, function: object, *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended while the model was loading
            self._loop.call_soon_threadsafe(function, *args)  # type: ignore[arg-type]

    def _ready(self, engine: object, text: object, seconds: float) -> None:
        self._state.serve(engine, text)  # type: ignore[arg-type]
        LOG.info("ready after %.1f s: %s on %s", seconds, one_line(self._state.name), url_of(self._sock))
        self._watch = self._loop.create_task(self._watch_engine())

    async def _watch_engine(self) -> None:
        engine = self._state.engine
        while engine.alive:
            await asyncio.sleep(0.2)
        if self._ended:
            return
        reason = engine.failure or "its thread ended"
        LOG.error("The engine died: %s", reason)
        self._state.phase = "failed"
        engine.fail(reason)
        await self._drained(5.0)
        self._end(1)

    def _signal(self, number: signal.Signals) -> None:
        if self._state.phase == "stopping":
            LOG.warning("%s again: ending at once", number.name)
            logging.shutdown()
            os._exit(128 + number)
        LOG.info("%s: stopping; requests under way: %d", number.name, self._state.answering)
        self._state.phase = "stopping"
        self._drain = self._loop.create_task(self._stop())

    async def _stop(self) -> None:
        begun, left_before = self._state.answering, self._state.metrics.cancelled
        limit = self._settings.shutdown_timeout
        await self._drained(limit)
        cut, left = self._state.answering, self._state.metrics.cancelled - left_before
        if cut:
            LOG.warning("requests cut off after %g s: %d", limit, cut)
            self._state.engine.fail("the server was stopped before the answer was complete")
            await self._drained(2.0)
        LOG.info(
            "stopped; requests finished: %d, cut off: %d, left by their clients: %d", begun - cut - left, cut, left
        )
        self._end(0)

    async def _drained(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while self._state.answering and time.monotonic() < until:
            await asyncio.sleep(0.02)
        return not self._state.answering

    def _end(self, code: int) -> None:
        if not self._ended:
            self._ended = True
            self._code = code
            self._uvicorn.should_exit = True
