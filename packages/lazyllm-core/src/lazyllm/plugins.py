"""The hook side of plugins, and the report that `lazyllm plugins` prints."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

from .errors import PluginConflictError, PluginError
from .registry.entries import COMMANDS, HOOKS, all_entries, entries, load_component, only


@dataclass
class PluginReport:
    """What one distribution brings, and what is wrong with it."""

    distribution: str
    version: str
    components: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    engines: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    remedies: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@cache
def hook_modules() -> tuple[dict[str, Any], dict[str, PluginError | PluginConflictError]]:
    """Load every plugin's hook module, one at a time. Returns distribution → module, and distribution → what failed.

    A broken plugin is reported once in the log and takes nothing else down.
    """
    from .common.log import LOG

    modules: dict[str, Any] = {}
    broken: dict[str, PluginError | PluginConflictError] = {}
    for claims in entries(HOOKS).values():
        try:
            entry = only(claims)
            modules[entry.distribution] = entry.load()
        except (PluginError, PluginConflictError) as error:
            for entry in claims:
                broken[entry.distribution] = error
            LOG.warning("%s", error)
    return modules, broken


@cache
def hooks() -> Any:
    """Return pluggy's hook caller with every plugin that loads registered under its distribution's name."""
    import pluggy

    from . import hookspecs

    manager = pluggy.PluginManager("lazyllm")
    manager.add_hookspecs(hookspecs)
    for distribution, module in hook_modules()[0].items():
        manager.register(module, name=distribution)
    manager.check_pending()
    return manager


def call(hook: str) -> tuple[dict[str, list[Any]], dict[str, str]]:
    """Call `hook` in every plugin. Returns distribution → results, and distribution → why its call failed."""
    manager = hooks()
    found: dict[str, list[Any]] = {}
    failed: dict[str, str] = {}
    for distribution, module in manager.list_name_plugin():
        if not hasattr(module, hook):
            continue
        try:
            results = manager.subset_hook_caller(
                hook, [other for name, other in manager.list_name_plugin() if name != distribution]
            )()
            found[distribution] = [item for result in results for item in result]
        except Exception as error:
            failed[distribution] = f"its {hook} fails with {type(error).__name__}: {error}"
    return found, failed


def report(check: bool = True) -> list[PluginReport]:
    """Return what is installed, by distribution; with `check`, each component is loaded to see whether it can be."""
    reports: dict[str, PluginReport] = {}

    def of(entry: Any) -> PluginReport:
        name = entry.distribution
        return reports.setdefault(name, PluginReport(name, entry.version))

    for group, names in sorted(all_entries().items()):
        for claims in names.values():
            for entry in claims:
                mine = of(entry)
                if group == COMMANDS:
                    mine.commands.append(entry.name)
                elif group != HOOKS:
                    mine.components.append(f"{group}.{entry.name}")
                if check and group != HOOKS:
                    _note_fault(mine, claims)
    if check:
        _add_hook_findings(reports)
    return sorted(reports.values(), key=lambda r: r.distribution)


def _note_fault(mine: PluginReport, claims: list[Any]) -> None:
    try:
        chosen = only(claims)
        if chosen.distribution == mine.distribution:
            load_component(chosen)
        else:
            told = f"{chosen.group}.{chosen.name} belongs to {chosen.distribution}; this distribution's is not used."
            mine.faults.append(told)
    except (PluginError, PluginConflictError) as error:
        if error.message not in mine.faults:
            mine.faults.append(error.message)
            mine.remedies.append(error.hint or "")


def _add_hook_findings(reports: dict[str, PluginReport]) -> None:
    for distribution, error in hook_modules()[1].items():
        reports[distribution].faults.append(error.message)
        reports[distribution].remedies.append(error.hint or "")
    found, failed = call("lazyllm_engines")
    for distribution, engines in found.items():
        mine = reports.setdefault(distribution, PluginReport(distribution, "?"))
        mine.engines.extend(asdict(engine) for engine in engines)
        mine.remedies.extend(engine.remedy for engine in engines if engine.version is None)
    for distribution, why in failed.items():
        reports[distribution].faults.append(why)
