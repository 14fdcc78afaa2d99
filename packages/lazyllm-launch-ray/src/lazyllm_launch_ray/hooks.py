"""What this plugin tells the core about itself; imported for every listing, so it imports nothing heavy."""

from __future__ import annotations

from lazyllm.hookspecs import Engine, Key, hookimpl


@hookimpl
def lazyllm_config_keys() -> list[Key]:
    """Return where the cluster is, and what it wants to be shown at the door."""
    return [
        Key("ray_address", str, "", "URL of the Ray cluster's dashboard, such as http://head:8265"),
        Key("ray_headers", str, "", 'HTTP headers for it as JSON, such as {"Authorization": "Bearer …"}', secret=True),
    ]


@hookimpl
def lazyllm_engines() -> list[Engine]:
    """Return Ray, which is needed only to start a cluster here."""
    return [Engine.of_distribution("ray", "pip install 'lazyllm-launch-ray[engine]'")]
