"""The tree as a whole: packages that fit together, look alike and keep the rules."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = sorted((ROOT / "packages").iterdir())
PLUGINS = [p for p in PACKAGES if p.name != "lazyllm-core"]
SOURCES = sorted(ROOT.glob("packages/*/src/**/*.py"))


def project(folder: Path) -> dict:  # type: ignore[type-arg]
    return tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda p: p.name)
def test_a_package_folder_looks_like_every_other(folder: Path) -> None:
    (package,) = [p for p in (folder / "src").iterdir() if p.is_dir()]
    assert (package / "py.typed").exists() and (folder / "README.md").read_text("utf-8").startswith(
        f"# {folder.name}\n"
    )
    assert list((folder / "tests").glob("test_*.py")), "a plugin brings its tests"
    about = project(folder)
    assert about["name"] == folder.name
    assert about["license"] == "Apache-2.0" and about["requires-python"] == ">=3.11"
    assert (folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes(), "every wheel brings it"


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda p: p.name)
def test_every_plugin_admits_the_core_of_this_tree(folder: Path) -> None:
    from packaging.requirements import Requirement

    wanted = [Requirement(r) for r in project(folder)["dependencies"]]
    (core,) = [r for r in wanted if r.name == "lazyllm-core"]
    assert core.specifier.contains(project(ROOT / "packages" / "lazyllm-core")["version"])


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda p: p.name)
def test_every_entry_point_is_installed_and_loads(folder: Path) -> None:
    for group, names in project(folder).get("entry-points", {}).items():
        installed = {point.name: point for point in entry_points(group=group)}
        for name, value in names.items():
            assert installed[name].value == value
            installed[name].load()


def test_the_version_of_the_core_stands_in_one_way() -> None:
    import lazyllm

    assert lazyllm.__version__ == project(ROOT / "packages" / "lazyllm-core")["version"]


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: str(p.relative_to(ROOT / "packages")))
def test_rules_of_the_house(source: Path) -> None:
    tree = ast.parse(source.read_text("utf-8"))
    for node in ast.walk(tree):
        if "testing" not in source.parts:
            assert not isinstance(node, ast.Assert), (
                f"line {node.lineno}: input deserves an error of ours, not an assert"
            )
        if isinstance(node, ast.keyword) and node.arg == "shell":
            raise AssertionError(f"line {node.value.lineno}: a shell string")
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = {a.name for a in node.names} | {getattr(node, "module", None)}
            assert not names & {"pickle", "cloudpickle", "dill", "shelve"}, f"line {node.lineno}"


def test_the_runner_is_valid_for_python_3_8() -> None:
    runner = ROOT / "packages/lazyllm-core/src/lazyllm/jobs/runner.py"
    tree = ast.parse(runner.read_text("utf-8"), feature_version=(3, 8))
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imported |= {str(n.module) for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not [name for name in imported if name.startswith("lazyllm")]


def test_no_message_names_the_historic_package_as_a_remedy() -> None:
    for source in (*SOURCES, *ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("packages/*/README.md")):
        assert not re.search(r"pip install ['\"]?lazyllm['\"]?(?![-\w])", source.read_text("utf-8")), source


def test_links_in_the_documentation_lead_somewhere() -> None:
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("packages/*/README.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
