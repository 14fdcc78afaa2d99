"""Tests that a plugin's author inherits: `pip install 'lazyllm-core[testing]'`."""

import pytest

for _name in ("base", "running", "stopping", "serving"):
    pytest.register_assert_rewrite(f"lazyllm.testing.{_name}")

from .launchers import LauncherConformance  # noqa: E402 (its asserts are to be rewritten)

__all__ = ["LauncherConformance"]
