"""The one logger. It writes to stderr, so that a program's answers can be read from stdout."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, TextIO


class _Stderr(logging.StreamHandler[TextIO]):
    """A handler for the stderr of the moment, which test runners and notebooks exchange."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, value: Any) -> None:
        pass


def _make_logger() -> logging.Logger:
    logger = logging.getLogger("lazyllm")
    if not logger.handlers:
        handler = _Stderr()
        handler.setFormatter(logging.Formatter("%(asctime)s lazyllm %(levelname)s %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)
        logger.propagate = False
    return logger


LOG = _make_logger()


def set_level(debug: bool) -> None:
    """Log debugging lines too, or none of them."""
    LOG.setLevel("DEBUG" if debug else "INFO")


set_level(os.environ.get("LAZYLLM_MODE", "").lower() == "debug")
