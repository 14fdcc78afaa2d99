"""The historic package owns the same import name, command and home: say so where it is found."""

from __future__ import annotations

from ..configs import config


def warn_of_historic_package() -> None:
    """Print a warning if the distribution `lazyllm` is installed beside this one."""
    import sys
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("lazyllm")
    except PackageNotFoundError:
        return
    print(  # noqa: T201 (click is not needed for one line)
        f"warning: the distribution lazyllm {found} is installed in this environment too. It owns the same import name "
        "and command as lazyllm-core, and they overwrite each other's files.\n"
        "  pip uninstall lazyllm, then pip install --force-reinstall --no-deps lazyllm-core",
        file=sys.stderr,
    )


def historic_home() -> str | None:
    """Return the sentence about settings of the historic package in the home folder, if there are any."""
    path = config.home / "config.json"
    if path.exists():
        return f"{path} belongs to the historic package and is not read; settings stand in {config.file}."
    return None
