"""What is looked at before a server is asked: its URL, the API key, the timeout."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from ..errors import InputError

LONGEST_TIMEOUT = 2_147_483
"""Seconds that the system can wait for a socket: 2**31 ms"""


def check_url(url: Any) -> tuple[str, str]:
    """Return the scheme and the host of a server's URL, or raise an InputError that says what is wrong with it."""
    import httpx

    why = "expected http://HOST:PORT/PATH"
    try:
        parts = urlsplit(url) if isinstance(url, str) and url == url.strip() else None
        if parts is not None and parts.scheme in ("http", "https") and parts.hostname:
            httpx.URL(url)
            parts.hostname.encode("idna")  # as the system's resolver will
            if parts.port != 0:
                return parts.scheme, parts.hostname
    except (ValueError, httpx.InvalidURL) as error:
        why = f"{str(error).rstrip('.')}; {why}"
    raise InputError(f"{url!r} is no URL of a server: {why}.")


def check_timeout(timeout: Any) -> None:
    """Raise an InputError for a timeout that is neither None nor a number of seconds above 0 that can be waited."""
    number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if timeout is not None and not (number and 0 < timeout <= LONGEST_TIMEOUT):
        raise InputError(
            f"timeout={timeout!r}: expected seconds, above 0 and at most {LONGEST_TIMEOUT:,}, or None to wait for ever."
        )


def check_key(key: Any) -> None:
    """Raise an InputError, which does not show it, for an API key that cannot be sent; None is none."""
    if not isinstance(key, str | None):
        raise InputError(f"api_key is a text, not of type {type(key).__name__}.")
    if key and not (key.isascii() and key.isprintable()):
        raise InputError(
            "The API key cannot be sent: it has characters that no HTTP header may have, a line break perhaps.",
            hint="Look at LAZYLLM_API_KEY, or at api_key in config.toml.",
        )
