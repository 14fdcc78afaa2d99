"""Where the cluster's dashboard is, and what is sent along to be let in."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from lazyllm.configs import config
from lazyllm.errors import ConfigError, InputError

PORT = 8265
"""Ray's own default for the dashboard's port."""
DEFAULT = f"http://127.0.0.1:{PORT}"
HOW = "launchers.ray(address=…), LAZYLLM_RAY_ADDRESS or RAY_API_SERVER_ADDRESS names another one."


def find_url(address: str | None) -> str:
    """Return the dashboard's URL: what is given, configured, or in RAY_API_SERVER_ADDRESS or RAY_ADDRESS."""
    if address is not None:
        return url_of(address, "address")
    setting = config.setting("ray_address")
    if setting.value:
        return url_of(setting.value, f"ray_address ({setting.source})")
    if told := os.environ.get("RAY_API_SERVER_ADDRESS"):
        return url_of(told, "RAY_API_SERVER_ADDRESS")
    told = os.environ.get("RAY_ADDRESS", "")
    if told.startswith(("http://", "https://", "ray://")):
        return url_of(told, "RAY_ADDRESS")
    if told in ("", "auto", "local"):
        return DEFAULT
    return url_of(f"ray://{told}", "RAY_ADDRESS")  # the port of Ray's own protocol: the dashboard has another


def url_of(address: Any, name: str) -> str:
    """Return `address` as a URL without a slash at its end; `name` says in errors where it comes from."""
    wrong = InputError(
        f"{name}={(shown(address) if isinstance(address, str) else address)!r} is no address of a Ray dashboard.",
        hint=f"Expected http://HOST:PORT, HOST:PORT or HOST; by default {DEFAULT}. "
        "In a password, / is %2F and @ is %40.",
    )
    if not isinstance(address, str) or not address.strip() or not address.isprintable() or " " in address.strip():
        raise wrong
    address = address.strip()
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise wrong from None
    bad = parts.query or parts.fragment or "@" in parts.path
    if parts.scheme not in ("http", "https", "ray") or not host or bad or port == 0:
        raise wrong
    if parts.scheme == "ray" or (port is None and "://" not in address):
        where = f"[{host}]" if ":" in host else host
        return f"http://{where}:{PORT}"
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


def shown(url: str) -> str:
    """Return `url` without the name and password that may stand in it, even if it is none because of them."""
    who, at, place = url.rpartition("@")
    scheme = re.match(r"[a-z]+://", who)
    return (scheme[0] if scheme else "") + place if at else url


def headers() -> dict[str, str]:
    """Return the headers for each request: those of RAY_JOB_HEADERS or `config["ray_headers"]`, else Ray's own token.

    The token is looked for where Ray's tools look: RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH, ~/.ray/auth_token.
    """
    text = config["ray_headers"] or os.environ.get("RAY_JOB_HEADERS", "")
    found = _parsed(text) if text else {}
    if any(name.lower() == "authorization" for name in found):
        return found
    token = _token()
    return {**found, "Authorization": f"Bearer {token}"} if token else found


def _parsed(text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ConfigError(
            "RAY_JOB_HEADERS or the configuration key 'ray_headers' is not a JSON object of texts.",
            hint='Expected such as {"Authorization": "Bearer TOKEN"}.',
        )
    for name, value in found.items():
        if not name or not (name + value).isascii() or not (name + value).isprintable():
            raise ConfigError(f"The header {name!r} for Ray holds characters that no HTTP header can.")
    return found


def _token() -> str:
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "disabled":
        return ""
    if token := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return token
    told = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(told) if told else Path("~/.ray/auth_token").expanduser()
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        if told:
            why = getattr(error, "strerror", None) or "it is no text"
            raise ConfigError(f"The token file that RAY_AUTH_TOKEN_PATH names cannot be read: {why}.") from None
        return ""
