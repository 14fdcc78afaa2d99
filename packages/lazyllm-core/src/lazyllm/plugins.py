"""The hook side of plugins, and the report that `lazyllm plugins` prints."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

from .configs import config
from .errors import LazyLLMError, PluginConflictError, PluginError
from .hookspecs import Engine
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
def hooks() -> tuple[Any, dict[str, LazyLLMError]]:
    """Load every plugin's hook module, one at a time. Returns pluggy's manager, and distribution → what failed.

    A broken plugin is reported once in the log and takes nothing else down.
    """
    import pluggy

    from . import hookspecs
    from .common.log import LOG

    manager = pluggy.PluginManager("lazyllm")
    manager.add_hookspecs(hookspecs)
    broken: dict[str, LazyLLMError] = {}
    for claims in entries(HOOKS).values():
        try:
            entry = only(claims)
            _add(manager, f"{entry.distribution}:{entry.name}", entry.load())
        except (PluginError, PluginConflictError) as error:
            broken.update((entry.distribution, error) for entry in claims)
            LOG.warning("%s", error)
    return manager, broken


def _add(manager: Any, name: str, module: Any) -> None:
    from pluggy import PluginValidationError

    try:
        manager.register(module, name=name)
        manager.check_pending()
    except (PluginValidationError, ValueError) as error:
        manager.unregister(name=name)
        words = " ".join(str(error).split())[:400]
        raise PluginError(
            f"The hooks of {name} cannot be used: {words}", hint="lazyllm/hookspecs.py lists all hooks."
        ) from None


def call(hook: str, kind: type) -> tuple[dict[str, list[Any]], dict[str, str]]:
    """Call `hook` in every plugin. Returns distribution → results, all of `kind`, and distribution → what failed."""
    found: dict[str, list[Any]] = {}
    failed: dict[str, str] = {}
    for implementation in getattr(hooks()[0].hook, hook).get_hookimpls():
        distribution = implementation.plugin_name.partition(":")[0]
        try:
            results = list(implementation.function() or ())
            if wrong := next((item for item in results if not isinstance(item, kind)), None):
                raise TypeError(f"{wrong!r} is no {kind.__name__}")
            found.setdefault(distribution, []).extend(results)
        except (Exception, SystemExit) as error:
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
    for distribution, error in hooks()[1].items():
        reports[distribution].faults.append(error.message)
        reports[distribution].remedies.append(error.hint or "")
    found, failed = call("lazyllm_engines", Engine)
    for distribution, engines in found.items():
        mine = reports.setdefault(distribution, PluginReport(distribution, "?"))
        mine.engines.extend(asdict(engine) for engine in engines)
        mine.remedies.extend(engine.remedy for engine in engines if engine.version is None)
    for distribution, why in failed.items():
        reports[distribution].faults.append(why)
    for distribution, faults in config.faults().items():
        reports[distribution].faults.extend(faults)
