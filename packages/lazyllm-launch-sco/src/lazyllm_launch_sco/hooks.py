"""The configuration keys of this plugin. Imports nothing heavy."""

from __future__ import annotations

from lazyllm.hookspecs import Key, hookimpl


@hookimpl
def lazyllm_config_keys() -> list[Key]:
    return [
        Key("sco.workspace", str, "", "SenseCore workspace that launchers.sco submits to"),
        Key("sco_env_name", str, "", "Environment that a job on SenseCore activates first; empty: none"),
        Key("sco_keep_record", bool, False, "Keep SenseCore's own entry of a job that has ended or was stopped"),
        Key("sco_resource_type", str, "N3lS.Ii.I60", "SenseCore's name for the kind of node, without its GPU count"),
    ]
