"""What installed distributions offer, read from their entry points: names without importing anyone's code."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from ..errors import PluginConflictError, PluginError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

PREFIX = "lazyllm."
HOOKS = "plugins"
COMMANDS = "commands"
CORE = "lazyllm-core"


@dataclass(frozen=True)
class Entry:
    """One name that a distribution provides: `value` is `module:attribute` (or `module` for hooks)."""

    group: str
    name: str
    value: str
    point: EntryPoint

    @property
    def module(self) -> str:
        return self.value.partition(":")[0]

    @property
    def attribute(self) -> str:
        return self.value.partition(":")[2]

    @property
    def distribution(self) -> str:
        return (self.point.dist.name if self.point.dist else "") or "an unknown distribution"

    @property
    def version(self) -> str:
        return (self.point.dist.version if self.point.dist else "") or "?"

    def load(self) -> Any:
        """Import the plugin and return its object; whatever goes wrong becomes a PluginError that names the culprit."""
        try:
            return self.point.load()
        except PluginConflictError:
            raise
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"{self.group}.{self.name} cannot be loaded: {self.distribution} {self.version} "
                f"({self.value}) fails with {type(error).__name__}: {error}",
                hint=f"pip install --upgrade {self.distribution}",
            ) from error


@cache
def all_entries() -> dict[str, dict[str, list[Entry]]]:
    """Return group → lower-case name → entries, of every installed distribution. Read once a process."""
    from importlib.metadata import entry_points

    found: dict[str, dict[str, list[Entry]]] = {}
    points = entry_points()
    for full in (g for g in points.groups if g.startswith(PREFIX)):
        group = full[len(PREFIX) :]
        for point in points.select(group=full):
            same = found.setdefault(group, {}).setdefault(point.name.lower(), [])
            if all(entry.value != point.value for entry in same):
                same.append(Entry(group, point.name, point.value, point))
    return found


def entries(group: str) -> dict[str, list[Entry]]:
    """Return the group's lower-case names and who claims them."""
    return all_entries().get(group, {})


def only(claims: list[Entry]) -> Entry:
    """Return the one claim on a name; several are an error that names all claimants. The core keeps its commands."""
    if len(claims) == 1:
        return claims[0]
    if claims[0].group == COMMANDS and (ours := [e for e in claims if e.distribution == CORE]):
        return ours[0]
    who = " and ".join(f"{e.distribution} {e.version} ({e.value})" for e in claims)
    raise PluginConflictError(
        f"{claims[0].group}.{claims[0].name} is claimed by {who}.",
        hint=f"pip uninstall one of them, for example: pip uninstall {claims[-1].distribution}",
    )


BASES = {
    "finetune": "LazyLLMFinetuneBase",
    "deploy": "LazyLLMDeployBase",
    "launchers": "LazyLLMLaunchersBase",
    "prompters": "LazyLLMPrompterBase",
    "formatters": "LazyLLMFormatterBase",
}
"""group of the core's → the class that its members derive from"""


def load_component(entry: Entry) -> Any:
    """Load a component (or command), and refuse what is none."""
    found = entry.load()
    if entry.group == COMMANDS:
        import click

        expected = None if isinstance(found, click.Command) else "a click command"
    else:
        base = BASES.get(entry.group)
        fits = base is None or getattr(found, "_lazy_llm_group", None) == entry.group
        expected = None if fits else f"a subclass of lazyllm.{base}"
    if expected:
        raise PluginError(
            f"{entry.group}.{entry.name} of {entry.distribution} {entry.version} ({entry.value}) is not {expected}."
        )
    return found


def by_attribute(attribute: str) -> list[Entry]:
    """Return the entries whose class is called `attribute`, whatever group they are in."""
    found = {
        entry.value: entry
        for group, names in all_entries().items()
        if group not in (HOOKS, COMMANDS)
        for claims in names.values()
        for entry in claims
        if entry.attribute == attribute
    }
    return list(found.values())
