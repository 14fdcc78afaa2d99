"""What a job takes along of this process's environment: every LAZYLLM_ variable, secrets apart from the others."""

from __future__ import annotations

import os
from dataclasses import replace

from lazyllm.configs import config, is_secret_variable
from lazyllm.jobs.command import Command
from lazyllm.jobs.keys import API_KEY
from lazyllm.jobs.tools import settings


def variables() -> dict[str, str]:
    """Return the LAZYLLM_ variables that are no secrets; LAZYLLM_HOME is absolute."""
    found = {name: value for name, value in settings(os.environ).items() if not is_secret_variable(name)}
    return {**found, "LAZYLLM_HOME": str(config.home)}


def with_secrets(command: Command) -> Command:
    """Return `command` with the LAZYLLM_ variables that are secrets; its own values win."""
    found = {name: value for name, value in settings(os.environ).items() if value and is_secret_variable(name)}
    if config["api_key"]:
        found[API_KEY] = config["api_key"]
    new = {name: value for name, value in found.items() if name not in command.env}
    return replace(command, secrets={**new, **command.secrets}) if new else command
