"""HTTP for the clients: connections that are reused, errors in words, streams that must end properly."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..configs import config
from ..errors import InputError, ServiceError

if TYPE_CHECKING:
    import httpx

CONNECT_TIMEOUT = 10.0
CONNECT_RETRIES = 3
LOOPBACK = ("127.0.0.1", "localhost", "::1")


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
        parts = urlsplit(url) if isinstance(url, str) and url == url.strip() else None
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"{url!r} is no URL of a server: expected http://HOST:PORT/PATH.")
        self.url = url.rstrip("/")
        self._local = parts.hostname in LOOPBACK
        self._headers = dict(headers or {})
        if key := api_key or config["api_key"]:
            self._headers["Authorization"] = _bearer(key)
        self._timeout = timeout
        self._client: httpx.Client | None = None

    @property
    def client(self) -> httpx.Client:
        if self._client is None:
            import httpx

            self._client = httpx.Client(
                headers=self._headers,
                timeout=httpx.Timeout(self._timeout, connect=CONNECT_TIMEOUT),
                transport=httpx.HTTPTransport(retries=CONNECT_RETRIES) if self._local else None,
                mounts=None if self._local else {"all://": httpx.HTTPTransport(retries=CONNECT_RETRIES)},
                trust_env=not self._local,
            )
        return self._client

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    @contextmanager
    def _request(self, method: str, path: str, body: Any, timeout: float | None) -> Iterator[httpx.Response]:
        import httpx

        check_timeout(timeout)
        seconds = self._timeout if timeout is None else timeout
        limits = httpx.Timeout(seconds, connect=CONNECT_TIMEOUT if seconds is None else min(seconds, CONNECT_TIMEOUT))
        url = f"{self.url}{path}"
        try:
            response = self._send(method, url, body, limits)
            if response.status_code == 401 and self._found_key():
                response.close()
                response = self._send(method, url, body, limits)
            try:
                if response.status_code >= 400:
                    response.read()
                    raise _refusal(response, url)
                yield response
            finally:
                response.close()
        except httpx.ConnectError as error:
            raise ServiceError(
                f"No server answers at {url}: {error}.", hint="lazyllm ps shows what is being served."
            ) from None
        except httpx.TimeoutException:
            raise ServiceError(f"{url} did not answer within {seconds:g} s.") from None
        except httpx.TransportError as error:
            raise ServiceError(f"The connection to {url} broke: {error or type(error).__name__}.") from None

    def _send(self, method: str, url: str, body: Any, limits: httpx.Timeout) -> httpx.Response:
        try:
            request = self.client.build_request(method, url, json=body, timeout=limits)
        except (TypeError, ValueError) as error:
            raise InputError(f"The request to {url} cannot be written as JSON: {error}.") from None
        return self.client.send(request, stream=True)

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
            for line in response.iter_lines():
                if not line.startswith("data:"):
                    continue
                data = line[5:].strip()
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
        held = b""
        with self._request("POST", path, body, timeout) as response:
            for chunk in response.iter_bytes():
                *whole, held = (held + chunk).split(delimiter)
                yield from (part.decode("utf-8", "replace") for part in whole if part)
        if held:
            yield held.decode("utf-8", "replace")


def check_timeout(timeout: Any) -> None:
    """Raise an InputError for a timeout that is neither None nor a number of seconds above 0."""
    number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if timeout is not None and not (number and timeout > 0):
        raise InputError(f"timeout={timeout!r}: expected seconds, above 0, or None to wait for ever.")


def _bearer(key: str) -> str:
    if not key.isascii() or not key.isprintable():
        raise InputError(
            "The API key cannot be sent: it has characters that no HTTP header may have, a line break perhaps.",
            hint="Look at LAZYLLM_API_KEY, or at api_key in config.toml.",
        )
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
