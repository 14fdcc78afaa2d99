"""What this plugin tells the core about itself; imported for every listing, so it imports nothing heavy."""

from __future__ import annotations

from lazyllm.hookspecs import Engine, hookimpl

_REMEDY = "pip install lazyllm-deploy-transformers"


@hookimpl
def lazyllm_engines() -> list[Engine]:
    """Return the library that the server stands on."""
    return [Engine.of_distribution("transformers", _REMEDY)]
