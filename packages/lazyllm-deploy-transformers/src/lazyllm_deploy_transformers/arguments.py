"""The server's command line, as one typed record."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Any, NoReturn

KEY = "LAZYLLM_API_KEY"
DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]{1,3})?")
DTYPES = ("auto", "float32", "bfloat16", "float16")
LOG_LEVELS = ("debug", "info", "warning", "error")
# option → the most that it takes; beyond, memory or threads would end before the first token
LIMITS = {"max_num_seqs": 2**16, "max_model_len": 2**31 - 1, "max_batch_tokens": 2**20, "threads": 2**12}
_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the server was asked to do; every field is an option of the same name."""

    model: str
    host: str = "127.0.0.1"
    port: int = 8000
    model_name: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    max_num_seqs: int = 64
    max_model_len: int | None = None
    max_batch_tokens: int | None = None
    kv_cache_memory: int | None = None
    trust_remote_code: bool = False
    threads: int | None = None
    shutdown_timeout: float = 30.0
    log_level: str = "info"


DEFAULTS: dict[str, Any] = {f.name: f.default for f in fields(Settings) if f.default is not MISSING}
"""What an option is where it is not given"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}\n  {self.prog} --help\n")


def _whole(most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) < 12 and 1 <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {most}, not {text!r}")
        return int(text)

    return read


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 12 and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"expected a port from 1 to 65535 (0 for a free one), not {text!r}")
    return int(text)


def _device(text: str) -> str:
    if not DEVICE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"expected auto, cpu, cuda or cuda:N, not {text!r}")
    return text


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds, 0 or more, not {text!r}")
    return value


def parse_size(text: str) -> int:
    """Return the bytes that `512M`, `4GiB` or `1000000` stand for (units are powers of 1024)."""
    found = _SIZE.fullmatch(text.strip())
    size = float(found[1]) * _UNITS[found[2].lower()] if found else 0
    if not 1 <= size < 2**63:
        raise argparse.ArgumentTypeError(f"expected bytes such as 512M or 4GiB, not {text[:40]!r}")
    return int(size)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser; its help is the reference of the options."""
    p = _Parser(
        prog="python -m lazyllm_deploy_transformers.server",
        description="Serve a local model folder with the OpenAI protocol.",
        epilog="An API key is read from the environment variable LAZYLLM_API_KEY, never from the command line.",
        allow_abbrev=False,
    )
    add = p.add_argument
    add("--model", required=True, metavar="DIR", help="folder with config.json, weights and tokenizer")
    add("--host", help="address to bind (default: %(default)s)")
    add("--port", type=_port, help="port to bind, 0 for a free one (default: %(default)s)")
    add("--model-name", metavar="NAME", help="name that clients use (default: the folder's name)")
    add(
        "--dtype",
        choices=DTYPES,
        help="default: the checkpoint's, float32 where the CPU has no arithmetic for it",
    )
    add("--device", type=_device, metavar="auto|cpu|cuda[:N]", help="default: cuda if there is one")
    add(
        "--max-num-seqs",
        type=_whole(LIMITS["max_num_seqs"]),
        metavar="N",
        help="sequences computed at once (default: %(default)s)",
    )
    add(
        "--max-model-len",
        type=_whole(LIMITS["max_model_len"]),
        metavar="N",
        help="tokens of prompt and answer together (default: the model's)",
    )
    add(
        "--max-batch-tokens",
        type=_whole(LIMITS["max_batch_tokens"]),
        metavar="N",
        help="tokens computed in one step (default: 512 on a CPU, 2048 on a GPU)",
    )
    add(
        "--kv-cache-memory",
        type=parse_size,
        metavar="BYTES",
        help="limit of the KV cache, such as 2GiB (default: a quarter of the free memory, at most 4 GiB; "
        "on a GPU the library's share of its memory)",
    )
    add("--trust-remote-code", action="store_true", help="run the model folder's own Python code")
    add(
        "--threads",
        type=_whole(LIMITS["threads"]),
        metavar="N",
        help="CPU threads of the model (default: OMP_NUM_THREADS, else this process's physical cores less one)",
    )
    add(
        "--shutdown-timeout",
        type=_seconds,
        metavar="S",
        help="seconds that SIGTERM leaves running answers (default: %(default)s)",
    )
    add("--log-level", choices=LOG_LEVELS, help="debug logs every request")
    p.set_defaults(**DEFAULTS)
    return p


def parse(argv: list[str] | None = None) -> Settings:
    """Return the settings; a wrong command line ends the process with code 2 and one line."""
    options = vars(make_parser().parse_args(argv))
    return Settings(**options)
