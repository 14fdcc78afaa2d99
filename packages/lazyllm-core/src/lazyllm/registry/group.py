"""Groups: `lazyllm.deploy.vllm` finds a component by name, in this process and in every installed plugin."""

from __future__ import annotations

from typing import Any

from ..errors import (
    InputError,
    MissingComponentError,
    PluginConflictError,
    UnknownNameError,
    near,
)
from . import entries as installed
from .catalog import KNOWN, install

ALIASES = {"prompter": "prompters", "formatter": "formatters", "hub": "hubs"}
"""The group that `LazyLLM<X>Base` opens → the name it is known by."""

_groups: dict[str, Group] = {}


class Group:
    """Components under one name. Members are found without regard to case, and loaded when they are asked for."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._base: type | None = None
        self._members: dict[str, type] = {}

    def _add(self, cls: type) -> None:
        key = cls.__name__.lower()
        for other, held in self._members.items():
            same = (held.__module__, held.__qualname__) == (cls.__module__, cls.__qualname__)
            if not same and (shared := {*self._spellings(key)} & {*self._spellings(other)}):
                raise PluginConflictError(
                    f"{self._name}.{min(shared, key=len)} is already {held.__module__}.{held.__qualname__}; "
                    f"{cls.__module__}.{cls.__qualname__} needs another name."
                )
        if not cls.__module__.startswith("lazyllm."):
            self._refuse_installed_name(cls)
        self._members[key] = cls

    def _refuse_installed_name(self, cls: type) -> None:
        for name in self._spellings(cls.__name__):
            for entry in installed.entries(self._name).get(name, []):
                if entry.module.partition(".")[0] != cls.__module__.partition(".")[0]:
                    raise PluginConflictError(
                        f"{self._name}.{name} is already given by {entry.distribution} ({entry.value}); "
                        f"{cls.__module__}.{cls.__qualname__} needs another name."
                    )

    def _spellings(self, name: str) -> list[str]:
        """Return `name` in lower case, and without the group's own name at its end: MyDeploy is mydeploy and my."""
        name = name.lower()
        tail = self._name.rpartition(".")[2]
        tails = (t for t in (tail, tail.removesuffix("s")) if t != name)
        return list(dict.fromkeys([name, *(name.removesuffix(t) for t in tails)]))

    def _local(self, key: str) -> type | None:
        for name, cls in self._members.items():
            if key in self._spellings(name):
                return cls
        return None

    def _claims(self, key: str) -> list[installed.Entry]:
        names = installed.entries(self._name)
        return names.get(key) or [e for same in names.values() for e in same if key in self._spellings(e.attribute)]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        key = name.lower()
        if f"{self._name}.{key}" in _groups:
            return _groups[f"{self._name}.{key}"]
        if (cls := self._local(key)) is not None:
            return cls
        if claims := self._claims(key):
            return installed.load_component(self._only(key, claims))
        raise self._missing(name)

    def _only(self, key: str, claims: list[installed.Entry]) -> installed.Entry:
        if len({e.name.lower() for e in claims}) > 1:  # a class's name that is none of their entry points'
            meant = " or ".join(f"{self._name}.{e.name} ({e.distribution})" for e in claims)
            raise PluginConflictError(f"{self._name}.{key} may mean {meant}; use one of these names.")
        return installed.only(claims)

    def _missing(self, name: str) -> UnknownNameError:
        for known, (cls, distribution) in KNOWN.get(self._name, {}).items():
            if name.lower() in (known, cls.lower()):
                return MissingComponentError(
                    f"{self._name}.{name} needs the plugin {distribution}, which is not installed.",
                    hint=install(distribution),
                )
        nearest = near(name, {*dir(self), *KNOWN.get(self._name, {})})
        found = nearest if nearest.startswith("Did") else near(name, dir(self))
        return UnknownNameError(f"{self._name} has no component {name!r}. {found}")

    def __dir__(self) -> list[str]:
        local = {name if len(s := self._spellings(name)) == 1 else s[-1] for name in self._members}
        nested = {g.removeprefix(f"{self._name}.") for g in _groups if g.startswith(f"{self._name}.")}
        claimed = {e.attribute.lower() for same in installed.entries(self._name).values() for e in same}
        named = {name for name in local if not any(name in self._spellings(c) for c in claimed)}
        return sorted({*named, *nested, *installed.entries(self._name)})

    def name_of(self, cls: type) -> str:
        """Return the name that `cls` is listed under: its entry point's, or its own without the group's."""
        package = cls.__module__.partition(".")[0]
        for claims in installed.entries(self._name).values():
            for entry in claims:
                if (entry.module.partition(".")[0], entry.attribute) == (package, cls.__name__):
                    return entry.name
        return self._spellings(cls.__name__)[-1]

    def __contains__(self, name: str) -> bool:
        """Say whether somebody provides `name`; using it may fail all the same."""
        key = str(name).lower()
        return self._local(key) is not None or bool(self._claims(key))

    def __iter__(self) -> Any:
        return iter(dir(self))

    def __repr__(self) -> str:
        return f"<lazyllm.{self._name}: {', '.join(dir(self)) or 'nothing yet'}>"


def canonical(name: str) -> str:
    """Return the group's name for what authors write: `deploy`, `Deploy`, `LazyLLMDeployBase`, `a.b`."""
    if not isinstance(name, str):
        raise InputError(f"A group is given by its name, not by {name!r}.")
    name = name.rpartition(".")[2] if name.endswith("Base") else name
    if name.startswith("LazyLLM") and name.endswith("Base"):
        name = name[len("LazyLLM") : -len("Base")]
    name = name.lower()
    if not all(part.isidentifier() for part in name.split(".")):
        raise InputError(f"{name!r} cannot name a group: expected letters, digits and underscores.")
    return ALIASES.get(name, name)


def open_group(name: str, base: type) -> Group:
    """Make the group, or give the present one its base class."""
    group = _groups.setdefault(name, Group(name))
    group._base = base
    return group


def find_group(name: str) -> Group:
    """Return a group that this process, an installed plugin or the list of known ones has."""
    key = canonical(name)
    if key not in _groups and (key in KNOWN or _is_installed(key)):
        _groups[key] = Group(key)
    if key in _groups:
        return _groups[key]
    raise UnknownNameError(
        f"There is no group {name!r}. {near(key, group_names())}",
        hint=f"lazyllm.component_register.new_group({name!r}) makes it.",
    )


def _is_installed(key: str) -> bool:
    return key not in (installed.HOOKS, installed.COMMANDS) and bool(installed.entries(key))


def group_names() -> list[str]:
    """Return the names of all groups."""
    found = {*_groups, *KNOWN, *installed.all_entries()} - {installed.HOOKS, installed.COMMANDS}
    return sorted(found)
