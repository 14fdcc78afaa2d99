"""What this plugin tells the core about itself; imported for every listing, so it imports nothing heavy."""

from __future__ import annotations

from lazyllm.hookspecs import Engine, Key, hookimpl


@hookimpl
def lazyllm_config_keys() -> list[Key]:
    """Return the scheduler and the queue that launchers.psij uses if it is given none."""
    return [
        Key("psij.executor", str, "", "Scheduler of launchers.psij: pbs, pbs_classic, lsf, slurm or local"),
        Key("psij.queue", str, "", "Queue, or partition, of launchers.psij; empty: the scheduler's default"),
    ]


@hookimpl
def lazyllm_engines() -> list[Engine]:
    """Return psij-python, which this plugin depends on."""
    return [Engine.of_distribution("psij-python", "pip install lazyllm-launch-psij")]
