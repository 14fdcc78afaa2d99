"""`import lazyllm` loads nothing: not pluggy, not importlib.metadata, nothing of a third party."""

from __future__ import annotations

import subprocess
import sys


def loaded_by(code: str) -> set[str]:
    script = f"import sys; before = set(sys.modules)\n{code}\nprint('\\n'.join(set(sys.modules) - before))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(found.stdout.split())


def test_importing_the_package_loads_only_itself() -> None:
    loaded = loaded_by("import lazyllm")
    foreign = {name for name in loaded if name.partition(".")[0] not in sys.stdlib_module_names | {"lazyllm"}}
    assert not foreign
    assert loaded - {"__future__"} == {"lazyllm", "lazyllm._lazy"}


def test_a_group_is_listed_without_importing_a_plugin() -> None:
    loaded = loaded_by("import lazyllm; dir(lazyllm.deploy), dir(lazyllm.finetune), dir(lazyllm.launchers)")
    assert not [name for name in loaded if name.startswith("lazyllm_")]
    assert not loaded & {"pluggy", "torch", "transformers", "httpx", "click", "rich", "psutil"}


def test_configuration_is_read_without_plugins() -> None:
    assert "pluggy" not in loaded_by("import lazyllm; lazyllm.config['mode']")
