"""What a job's programs find as they would here, though they start from the environment of Ray's own processes."""

from __future__ import annotations

from collections.abc import Mapping

from lazyllm.configs import is_secret_variable
from lazyllm.jobs.tools import settings

NAMES = (
    "PATH",
    "LD_LIBRARY_PATH",
    "LANG",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "CONDA_DEFAULT_ENV",
    "HF_HOME",
    "HF_ENDPOINT",
)
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")


def carried(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of `environ` that a job gets: where programs and models are, and LAZYLLM_* but secrets.

    PYTHONPATH is always among them, empty if need be, and PYTHONBREAKPOINT: Ray sets its own.
    """
    found = {name: environ[name] for name in (*NAMES, *OFFLINE) if name in environ}
    found |= {name: value for name, value in settings(environ).items() if not is_secret_variable(name)}
    return {
        **found,
        "PYTHONPATH": environ.get("PYTHONPATH", ""),
        "PYTHONBREAKPOINT": environ.get("PYTHONBREAKPOINT", ""),
    }
