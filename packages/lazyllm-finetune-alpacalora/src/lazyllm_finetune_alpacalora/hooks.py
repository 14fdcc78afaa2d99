"""What `lazyllm plugins` shows of this plugin. Imports nothing heavy."""

from __future__ import annotations

from lazyllm.hookspecs import Engine, hookimpl


@hookimpl
def lazyllm_engines() -> list[Engine]:
    return [Engine.of_distribution(name) for name in ("torch", "transformers", "peft", "datasets", "deepspeed")]
