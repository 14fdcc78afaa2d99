"""Jobs in containers: an image where the pyxis plugin is, else the folder of an OCI bundle."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lazyllm.errors import InputError, LauncherError

from .commands import run
from .options import check_known, sbatch_options


def check_container(container: str | None) -> None:
    """Refuse a container that Slurm could not run: it would pass over it without a word, and use the bare node.

    Raises:
        InputError: no bundle is there.
        LauncherError: this Slurm runs none.
    """
    if container is None or _takes_images():
        return
    check_known({"container"})
    if not (Path(container) / "config.json").is_file():
        found = "that folder has no config.json" if Path(container).is_dir() else "there is no such folder"
        raise InputError(
            f"container={container!r}: expected the folder of an OCI bundle, but {found}.",
            hint="umoci unpack --image IMAGE:TAG FOLDER makes one; for images the cluster needs the pyxis plugin.",
        )
    folder = configuration()
    if not (folder / "oci.conf").is_file():
        raise LauncherError(
            f"This Slurm runs no containers: {folder} has no oci.conf, so the job would run on the bare node.",
            hint="Ask the cluster's administrator for an oci.conf or the pyxis plugin, or leave container out.",
        )


def container_flags(container: str | None, visible: list[str]) -> list[str]:
    """Return the options that run a job in a container.

    Args:
        visible: folders that the container must see under their own names.
    """
    if container is None:
        return []
    if _takes_images():
        mounts = ",".join(f"{folder}:{folder}" for folder in dict.fromkeys(visible))
        return [f"--container-image={container}", f"--container-mounts={mounts}"]
    return [f"--container={Path(container).absolute()}"]


def configuration() -> Path:
    """Return the folder of the slurm.conf in force."""
    path = os.environ.get("SLURM_CONF")
    if not path:
        told = re.search(r"^SLURM_CONF\s*=\s*(\S+)", run(("scontrol", "show", "config")).out, re.M)
        path = told[1] if told else "/etc/slurm/slurm.conf"
    return Path(path).parent


def _takes_images() -> bool:
    return "container-image" in sbatch_options()
