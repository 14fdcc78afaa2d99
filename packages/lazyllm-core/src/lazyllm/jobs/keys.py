"""API keys of servers that other machines can reach: each gets one, and clients of the same user find it."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from pathlib import Path

from ..configs import config
from .command import Command
from .record import Record

API_KEY = "LAZYLLM_API_KEY"
"""The variable that a server reads its key from; without it, it answers everybody."""


def is_private(host: str | None) -> bool:
    """Say whether only this machine reaches what binds `host`."""
    if host is None:
        return False
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def guarded(command: Command, host: str | None) -> Command:
    """Return `command` with an API key if it serves on an address that other machines reach.

    The key is `config["api_key"]`, or one made for this job; a key that the command brings stays.
    """
    if command.service is None or is_private(host) or {**command.env, **command.secrets}.get(API_KEY):
        return command
    from secrets import token_urlsafe

    return replace(command, secrets={**command.secrets, API_KEY: config["api_key"] or token_urlsafe(32)})


def key_file(record: Record) -> Path | None:
    """Return the path of the file, readable by its owner alone, that has the server's key; None if it has no key."""
    path = record.folder / "secrets.json"
    return path if API_KEY in record.data.get("secrets", ()) and path.exists() else None
