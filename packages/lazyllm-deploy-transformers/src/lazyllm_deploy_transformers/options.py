"""The keywords' values of `deploy.transformers`, checked in the caller's process."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Mapping
from typing import Any

from lazyllm.errors import InputError, near

from .arguments import DEVICE, DTYPES, LIMITS, LOG_LEVELS, parse_size

LONGEST_NAME = 1000  # characters of a model's name; what a command line may hold ends at 128 KiB
_LABEL = re.compile(r"\w([\w-]{0,61}\w)?")


def check_options(kw: Mapping[str, Any]) -> None:
    """Raise an InputError that names the first value which cannot be used."""
    for name, known in (("dtype", DTYPES), ("log_level", (None, *LOG_LEVELS))):
        if kw[name] not in known:
            raise InputError(f"{name}={kw[name]!r} is unknown. {near(str(kw[name]), filter(None, known))}")
    for name, most in LIMITS.items():
        value = kw[name]
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most):
            raise InputError(f"{name}={value!r}: expected a whole number from 1 to {most}.")
    if not DEVICE.fullmatch(str(kw["device"])):
        raise InputError(f"device={kw['device']!r}: expected auto, cpu, cuda or cuda:N.")
    name, host = kw["model_name"], kw["host"]
    if name is not None and not (isinstance(name, str) and name.strip() and is_text(name) and len(name) < LONGEST_NAME):
        raise InputError(
            f"model_name={str(name)[:80]!r}: expected text of less than {LONGEST_NAME} characters, or None."
        )
    if host is not None and not (isinstance(host, str) and is_host(host)):
        raise InputError(f"host={host!r}: expected an address such as 127.0.0.1 or ::1, or a host's name, or None.")
    if kw["kv_cache_memory"] is not None:
        try:
            parse_size(str(kw["kv_cache_memory"]))
        except ArgumentTypeError as e:
            raise InputError(f"kv_cache_memory: {e}.") from None
    for name in ("shutdown_timeout", "start_timeout"):
        value = kw[name]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
            raise InputError(f"{name}={value!r}: expected seconds, 0 or more.")
    if not kw["start_timeout"]:
        raise InputError("start_timeout=0: no server answers at once; expected seconds above 0.")


def is_text(value: str) -> bool:
    """Return whether a string can be an argument and be sent as JSON: no NUL, no half characters."""
    return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)


def is_host(value: str) -> bool:
    """Return whether `value` is an IP address, or has the form of a host's name."""
    import ipaddress

    address, _, interface = value.partition("%")
    try:
        ipaddress.ip_address(address)
    except ValueError:
        labels = value.removesuffix(".").split(".")
        return len(value) <= 253 and all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdecimal()
    return not interface or _LABEL.fullmatch(interface) is not None
