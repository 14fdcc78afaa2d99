"""What else could serve a model that this package refuses."""

from __future__ import annotations


def installed() -> str:
    """Return a sentence with the other engines that are installed, found without importing any of them."""
    from importlib.metadata import entry_points

    names = sorted({e.name for e in entry_points(group="lazyllm.deploy")} - {"transformers"})
    if names:
        return "serve it with another installed engine: " + ", ".join(f"deploy.{n}" for n in names)
    return "no other engine (deploy.…) is installed"
