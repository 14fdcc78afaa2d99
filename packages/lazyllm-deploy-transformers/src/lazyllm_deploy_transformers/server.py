"""`python -m lazyllm_deploy_transformers.server --model DIR`: an OpenAI-compatible server for one model folder.

Exit codes: 0 after SIGTERM or SIGINT, 1 when the engine died, 2 when it cannot start (the line on stderr says why).
"""

from __future__ import annotations

import logging
import os
import sys

from lazyllm.errors import ConfigError, LazyLLMError

from .address import bind, url_of
from .arguments import KEY, Settings, parse
from .checks import check_folder, one_line

LOG = logging.getLogger("lazyllm.server")


def run(settings: Settings) -> int:
    """Check the folder, bind the port, serve until told to stop; return the exit code."""
    if (key := os.environ.get(KEY)) and not key.strip():
        raise ConfigError(f"{KEY} holds white space only: it guards nothing.", hint=f"unset {KEY}, or give it a key")
    info = check_folder(
        settings.model, trust_remote_code=settings.trust_remote_code, max_model_len=settings.max_model_len
    )
    sock = bind(settings.host, settings.port)
    LOG.info("starting %s (%s) on %s", one_line(info.name), info.model_type, url_of(sock))
    from .lifecycle import Server

    return Server(settings, sock, info.name).run()


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    settings = parse(argv)
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"
    )
    LOG.setLevel(settings.log_level.upper())
    try:
        return run(settings)
    except LazyLLMError as e:
        LOG.error("%s", e)
        return 2


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    # torch's and the library's threads may be in the middle of a step: nothing is left to wait for
    os._exit(code)
