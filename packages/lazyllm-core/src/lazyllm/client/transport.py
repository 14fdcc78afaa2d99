"""HTTP for the clients: connections that are reused, errors in words, streams that must end properly."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..configs import config
from ..errors import InputError, ServiceError
from .checks import check_key, check_timeout, check_url

if TYPE_CHECKING:
    import httpx

CONNECT_TIMEOUT = 10.0
"""Seconds that connecting may take, with all that is tried again"""
RETRY_AFTER = (0.0, 0.5, 1.0)
"""Seconds between a connection that failed and the next"""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
ENVIRONMENT = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Variables that say how a server beyond this machine is reached; those of proxies may be in lower case"""


class Transport:
    """One server's connections. Failed connections are tried again, requests that were sent are not.

    Args:
        url: where the server is, `http://host:port/...`.
        headers: sent with each request.
        timeout: seconds without a byte after which a request is given up; None waits for ever.
        api_key: sent as `Authorization: Bearer`; by default `config["api_key"]`, or, where the server demands one, the
            key of this user's job that serves the URL.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = 600.0,
        api_key: str | None = None,
    ) -> None:
        check_timeout(timeout)
        scheme, host = check_url(url)
        self.url = url.rstrip("/")
        self._tls, self._local = scheme == "https", host in LOOPBACK
        self._headers = dict(headers or {})
        if key := api_key or config["api_key"]:
            self._headers["Authorization"] = _bearer(key)
        self._timeout = timeout
        self._clients: dict[int, httpx.Client] = {}  # of each process

    @property
    def timeout(self) -> float | None:
        return self._timeout

    @property
    def client(self) -> httpx.Client:
        """The connections of this process: a forked one opens its own, and leaves its parent's as they are."""
        here = os.getpid()
        return self._clients.get(here) or self._clients.setdefault(here, self._made_client())

    def _made_client(self) -> httpx.Client:
        import httpx

        try:
            return httpx.Client(
                headers=self._headers,
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
                trust_env=not self._local,
                verify=self._tls,  # else certificates are read, and demanded, for nothing
            )
        except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
            found = [name for name in os.environ if name.upper() in ENVIRONMENT]
            hint = f"Look at {', '.join(found)} in the environment." if found else None
            said = str(error).rstrip(".")
            raise InputError(f"Connections to {self.url} cannot be set up: {said}.", hint=hint) from None

    def close(self) -> None:
        if client := self._clients.pop(os.getpid(), None):
            client.close()

    @contextmanager
    def _request(self, method: str, path: str, body: Any, timeout: float | None) -> Iterator[httpx.Response]:
        import httpx

        check_timeout(timeout)
        seconds = self._timeout if timeout is None else timeout
        url = f"{self.url}{path}"
        try:
            response = self._send(method, url, body, seconds)
            if response.status_code == 401 and self._found_key():
                response.close()
                response = self._send(method, url, body, seconds)
            try:
                if response.status_code >= 400:
                    response.read()
                    raise _refusal(response, url)
                yield response
            finally:
                response.close()
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            late = isinstance(error, httpx.ConnectTimeout)
            why = f"no connection within {_connect_timeout(seconds):g} s" if late else error
            raise ServiceError(
                f"No server answers at {url}: {why}.", hint="lazyllm ps shows what is being served."
            ) from None
        except httpx.TimeoutException:
            raise ServiceError(f"{url} did not answer within {seconds:g} s.") from None
        except httpx.RequestError as error:
            raise ServiceError(f"The connection to {url} broke: {error or type(error).__name__}.") from None

    def _send(self, method: str, url: str, body: Any, seconds: float | None) -> httpx.Response:
        """Send a request; a connection that fails is tried again as long as there is time to connect."""
        import httpx

        client, until = self.client, time.monotonic() + _connect_timeout(seconds)
        try:
            request = client.build_request(method, url, json=body, timeout=seconds)
        except (TypeError, ValueError) as error:
            raise InputError(f"The request to {url} cannot be written as JSON: {error}.") from None
        pauses = iter(RETRY_AFTER)
        while True:
            request.extensions["timeout"]["connect"] = max(until - time.monotonic(), 0.001)
            try:
                return client.send(request, stream=True)
            except httpx.ConnectError:
                pause = next(pauses, None)
                if pause is None or time.monotonic() + pause >= until:
                    raise
                time.sleep(pause)

    def _found_key(self) -> bool:
        """Take the key of the job that serves this URL, if it is one of this user's and was not tried just now."""
        from ..jobs.manage import key_for

        key = key_for(self.url)
        if not key or self.client.headers.get("Authorization") == _bearer(key):
            return False
        self.client.headers["Authorization"] = _bearer(key)
        return True

    def fetch(self, method: str, path: str, body: Any = None, *, timeout: float | None = None) -> str:
        """Return the text of a response."""
        with self._request(method, path, body, timeout) as response:
            response.read()
            return response.text

    def fetch_json(self, method: str, path: str, body: Any = None, *, timeout: float | None = None) -> Any:
        """Return the JSON value of a response."""
        text = self.fetch(method, path, body, timeout=timeout)
        try:
            return json.loads(text)
        except ValueError:
            raise ServiceError(f"{self.url}{path} answered with something else than JSON: {text[:200]!r}.") from None

    def events(self, path: str, body: Any, *, timeout: float | None = None) -> Iterator[Any]:
        """Yield the JSON values of a server-sent event stream up to `[DONE]`.

        Raises:
            ServiceError: the stream holds an error (which may come with HTTP 200), or breaks off before `[DONE]`.
        """
        with self._request("POST", path, body, timeout) as response:
            for line in _parts(response, b"\n"):  # JSON may hold what splitlines takes for the end of a line
                if not line.startswith(b"data:"):
                    continue
                data = line[5:].decode("utf-8", "replace").strip()
                if data == "[DONE]":
                    return
                try:
                    value = json.loads(data)
                except ValueError:
                    raise ServiceError(f"{self.url}{path} streamed something else than JSON: {data[:200]!r}.") from None
                if isinstance(value, dict) and value.get("error"):
                    raise ServiceError(f"{self.url}{path} broke off: {_error_text(value)}", status=200)
                yield value
        raise ServiceError(f"The stream of {self.url}{path} broke off before its end.", status=200)

    def pieces(self, path: str, body: Any, delimiter: bytes, *, timeout: float | None = None) -> Iterator[str]:
        """Yield the non-empty parts of a streamed response that `delimiter` separates."""
        with self._request("POST", path, body, timeout) as response:
            for part in _parts(response, delimiter):
                yield part.decode("utf-8", "replace")


def _parts(response: httpx.Response, delimiter: bytes) -> Iterator[bytes]:
    """Yield the non-empty parts of a response that `delimiter` separates, as they come."""
    held = b""
    for chunk in response.iter_bytes():
        *whole, held = (held + chunk).split(delimiter)
        yield from filter(None, whole)
    if held:
        yield held


def _connect_timeout(seconds: float | None) -> float:
    return CONNECT_TIMEOUT if seconds is None else min(seconds, CONNECT_TIMEOUT)


def _bearer(key: str) -> str:
    check_key(key)
    return f"Bearer {key}"


def _error_text(value: Any) -> str:
    error = value.get("error", value.get("detail", value)) if isinstance(value, dict) else value
    message = error.get("message") if isinstance(error, dict) else None
    return str(message or error)


def _refusal(response: httpx.Response, url: str) -> ServiceError:
    try:
        said = _error_text(response.json())
    except ValueError:
        said = response.text[:500]
    hint = None
    if response.status_code == 401:
        hint = "Set LAZYLLM_API_KEY to the key that the server was started with."
    return ServiceError(f"{url} answered {response.status_code}: {said}", hint=hint, status=response.status_code)
