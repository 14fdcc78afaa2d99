"""The configuration key that this plugin adds."""

from __future__ import annotations

from lazyllm.hookspecs import Key, hookimpl


@hookimpl
def lazyllm_config_keys() -> list[Key]:
    return [Key("share_gpus", bool, False, "Let jobs on this machine share GPUs with your other jobs")]
