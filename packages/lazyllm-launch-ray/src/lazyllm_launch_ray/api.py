"""Speaks with the dashboard of a Ray cluster over HTTP."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import unquote, urlsplit

from lazyllm.errors import LauncherError

from . import address

if TYPE_CHECKING:
    import httpx

LOCAL = ("127.0.0.1", "::1", "localhost")
CONNECT, QUICK, SLOW = 3.0, 10.0, 40.0
"""Seconds for a connection, for a query, and for what waits in Ray until an agent of its own answers."""
PORTS = (
    "The dashboard listens on 8265, unless --dashboard-port says otherwise; 6379 and 10001 are other ports of Ray's."
)


class UnreachableError(LauncherError):
    """Nobody answered, or not in time: it may be otherwise in a minute."""


class Api:
    """One cluster's dashboard."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.shown = address.shown(url)

    @cached_property
    def _client(self) -> httpx.Client:
        import httpx

        parts = urlsplit(self.url)
        who = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
        # a connection that is kept may be gone when it is needed: queries are too rare to be worth that
        limits = httpx.Limits(max_keepalive_connections=0)
        return httpx.Client(auth=who, limits=limits, trust_env=parts.hostname not in LOCAL)

    def ask(self, method: str, path: str, body: Any = None, *, limit: float = QUICK) -> tuple[int, str]:
        """Return the HTTP status and the text of an answer.

        Raises:
            UnreachableError: there is none.
            LauncherError: the cluster wants a token, or another one; what answers does not speak HTTP.
        """
        import httpx

        more = {} if body is None else {"json": body}
        try:
            answer = self._client.request(
                method,
                self.shown + path,
                headers=address.headers(),
                timeout=httpx.Timeout(limit, connect=CONNECT),
                **more,
            )
        except httpx.TimeoutException:
            raise UnreachableError(f"Ray's dashboard at {self.shown} does not answer in time.", hint=PORTS) from None
        except (httpx.RemoteProtocolError, httpx.ReadError) as error:
            words = str(error).rstrip(".") or type(error).__name__
            raise UnreachableError(
                f"What listens at {self.shown} broke off, or it is no Ray dashboard: {words}.", hint=PORTS
            ) from None
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise UnreachableError(
                f"No Ray cluster answers at {self.shown}: {str(error).rstrip('.') or type(error).__name__}.",
                hint=f"ray start --head starts one on this machine (pip install 'ray[default]'); {address.HOW}",
            ) from None
        if answer.status_code in (401, 403):
            raise _unwelcome(self.shown, answer.status_code)
        return answer.status_code, answer.text

    def get(self, path: str) -> Any:
        """Return the JSON that the dashboard has under `path`; errors as `ask`, and a LauncherError if it is none."""
        status, text = self.ask("GET", path)
        if status == 200:
            with suppress(ValueError):
                return json.loads(text)
        fail(self.shown, path, status, text)


def fail(where: str, path: str, status: int, text: str) -> NoReturn:
    """Raise the error for an answer that is not what a dashboard has under `path`."""
    if status >= 500:
        raise UnreachableError(f"Ray's dashboard at {where} cannot answer just now: {last_words(text, status)}.")
    what = "no JSON" if status == 200 else f"status {status}"
    raise LauncherError(f"What answers at {where} is no Ray dashboard: {what} for {path}.", hint=PORTS)


def _unwelcome(where: str, status: int) -> LauncherError:
    said = "wants a token" if status == 401 else "refuses the token that it was sent, or this user"
    return LauncherError(
        f"What answers at {where} {said} (status {status}).",
        hint="If it is your Ray cluster, let RAY_AUTH_TOKEN_PATH name a file with the token, or RAY_JOB_HEADERS or "
        'LAZYLLM_RAY_HEADERS hold the headers: {"Authorization": "Bearer TOKEN"}.',
    )


def last_words(text: str, status: int | None = None) -> str:
    """Return the last line of a message that says something: of a traceback, that is what went wrong; "" for none."""
    lines = [line.strip() for line in text.splitlines() if len(line.strip()) > 1]
    words = lines[-1].rstrip(".")[:400] if lines else ""
    return words or (f"status {status}" if status else "")


_apis: dict[tuple[int, str], Api] = {}


def api(url: str) -> Api:
    """Return this process's way to the dashboard at `url`; a forked child has one of its own."""
    key = (os.getpid(), url)
    return _apis.get(key) or _apis.setdefault(key, Api(url))
