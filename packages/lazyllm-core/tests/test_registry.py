"""Groups, registration by decorator and by subclassing, and what their errors say."""

from __future__ import annotations

import functools
import sys
import uuid
from types import SimpleNamespace
from typing import Any

import pytest

import lazyllm
from lazyllm.common import Register
from lazyllm.components import LazyLLMDeployBase
from lazyllm.components.core import ComponentBase
from lazyllm.errors import (
    InputError,
    MissingComponentError,
    MissingPluginError,
    PluginConflictError,
    PluginError,
    UnknownNameError,
)
from lazyllm.registry import entries, find_group


@pytest.fixture
def group() -> str:
    """Make a group that no other test uses."""
    name = f"group{uuid.uuid4().hex[:8]}"
    lazyllm.component_register.new_group(name)
    return name


def test_a_function_becomes_a_component(group: str) -> None:
    @lazyllm.component_register(group)
    def myfunc(value: int) -> int:
        """Double it."""
        return value * 2

    component = getattr(lazyllm, group).myfunc
    assert component()(21) == 42
    assert component.__doc__ == "Double it."
    assert repr(component()) == f"<lazyllm.llm.{group} type=myfunc>"
    assert myfunc(1) == 2, "the decorator returns the function itself"


def test_members_are_found_without_regard_to_case(group: str) -> None:
    @lazyllm.component_register(group.upper(), func_name="MyName")
    def anything() -> str:
        return "here"

    assert getattr(lazyllm, group).myname()() == getattr(lazyllm, group).MYNAME()() == "here"
    assert dir(getattr(lazyllm, group)) == ["myname"]


@pytest.mark.parametrize("spell", [str.upper, lambda n: f"LazyLLM{n}Base", lambda n: find_group(n)._base])
def test_a_group_is_given_by_name_or_base_class(group: str, spell: Any) -> None:
    lazyllm.component_register(spell(group))(lambda: 1) if False else None

    @lazyllm.component_register.apply(spell(group))
    def one() -> int:
        return 1

    assert getattr(lazyllm, group).one()() == 1


def test_dotted_groups_nest(group: str) -> None:
    @lazyllm.component_register(f"{group}.inner")
    def deep() -> str:
        return "deep"

    assert getattr(lazyllm, group).inner.deep()() == "deep"
    assert repr(getattr(lazyllm, group).inner.deep()) == f"<lazyllm.llm.{group}.inner type=deep>"


def test_code_without_a_module_registers_too(group: str) -> None:
    exec(f"import lazyllm\n@lazyllm.component_register({group!r})\ndef here(x): return x", {})
    assert getattr(lazyllm, group).here()(7) == 7


def test_what_has_no_name_needs_one(group: str) -> None:
    def scale(by: int, x: int) -> int:
        """Multiply."""
        return by * x

    twice = functools.partial(scale, 2)
    with pytest.raises(InputError, match=r"partial\(.*has no name: give the component one, func_name="):
        lazyllm.component_register(group)(twice)
    assert lazyllm.component_register(group, func_name="twice")(twice) is twice
    assert getattr(lazyllm, group).twice()(4) == 8 and getattr(lazyllm, group).twice.__doc__ == "Multiply."
    with pytest.raises(InputError, match="5 cannot name a component"):
        lazyllm.component_register(group, func_name=5)(scale)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="'scale' is no function"):
        lazyllm.component_register(group)("scale")  # type: ignore[type-var]


def test_a_register_may_stand_on_any_class() -> None:
    class Plain:
        def work(self, value: int) -> int:
            raise NotImplementedError

    name = f"plain{uuid.uuid4().hex[:8]}"
    register = Register(Plain, ["work"])
    register.new_group(name)
    register(name, func_name="more")(lambda value: value + 1)
    assert getattr(lazyllm, name).more().work(1) == 2 and issubclass(getattr(lazyllm, name).more, Plain)
    with pytest.raises(InputError, match="stands on a class"):
        Register(3, "work")  # type: ignore[arg-type]


def test_unknown_arguments_of_a_component_are_named(group: str) -> None:
    lazyllm.component_register(group, func_name="plain")(lambda: 1)
    with pytest.raises(InputError, match=rf"{group}.plain has no argument 'bogus'.\n.*It takes: launcher"):
        getattr(lazyllm, group).plain(bogus=1)


def test_an_unknown_group_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="no group 'deplyo'.*'deploy'"):
        lazyllm.component_register("deplyo")
    with pytest.raises(AttributeError, match="Did you mean .*'finetune'"):
        _ = lazyllm.finetun


def test_an_unknown_method_is_an_error(group: str) -> None:
    with pytest.raises(InputError, match="cannot stand for 'aply'.*apply"):
        lazyllm.component_register(group, rewrite_func="aply")
    with pytest.raises(AttributeError, match="apply, cmd"):
        _ = lazyllm.component_register.run


def test_a_groups_own_method_is_the_default() -> None:
    from lazyllm.registry import Registered

    class LazyLLMShouterBase(Registered):
        __reg_overwrite__ = "shout"

        def shout(self, text: str) -> str:
            raise NotImplementedError

    register = Register(LazyLLMShouterBase, ["whisper", "shout"])

    @register("shouter")
    def loud(text: str) -> str:
        return text.upper()

    assert lazyllm.shouter.loud().shout("a") == "A"


def test_a_name_taken_twice_is_an_error_and_a_redefinition_is_not(group: str) -> None:
    def define(module: str) -> None:
        def same() -> str:
            return module

        same.__module__ = module
        lazyllm.component_register(group)(same)

    define("one")
    define("one")
    with pytest.raises(PluginConflictError, match=r"already one\..*two\."):
        define("two")


def test_a_group_cannot_take_a_name_of_ours() -> None:
    with pytest.raises(InputError, match="something else already"):
        lazyllm.component_register.new_group("config")
    with pytest.raises(InputError, match="letters, digits"):
        lazyllm.component_register.new_group("a b")


def test_groups_stay_what_they_are(group: str) -> None:
    for taken, why in (("plugins", "something else"), ("deploy", "There is a group 'deploy' already")):
        with pytest.raises(InputError, match=why):
            lazyllm.component_register.new_group(taken)
    assert find_group("deploy")._base is LazyLLMDeployBase
    lazyllm.component_register(group)(len)
    lazyllm.component_register.new_group(group)
    assert "len" in dir(getattr(lazyllm, group))
    lazyllm.component_register.new_group(f"{group}.inner")
    lazyllm.component_register(f"{group}.inner")(max)
    assert getattr(lazyllm, group).inner.max()(1, 2) == 2


def test_subclasses_register_with_and_without_the_groups_name() -> None:
    name = f"Mine{uuid.uuid4().hex[:6]}"
    made = type(f"{name}Deploy", (LazyLLMDeployBase,), {"__module__": __name__})
    assert getattr(lazyllm.deploy, f"{name}Deploy".lower()) is made
    assert getattr(lazyllm.deploy, name.lower()) is made
    assert name.lower() in dir(lazyllm.deploy)


def test_apply_and_cmd_exclude_each_other() -> None:
    class Both(ComponentBase):
        def apply(self) -> None: ...
        def cmd(self) -> list[str]:
            return ["true"]

    with pytest.raises(InputError, match="both apply and cmd"):
        Both()()


def test_a_known_plugin_that_is_missing_is_answered_with_its_command() -> None:
    with pytest.raises(UnknownNameError, match=r"no component 'ligthllm'. Did you mean 'lightllm'"):
        _ = lazyllm.deploy.ligthllm
    with pytest.raises(ImportError, match="pip install lazyllm-deploy-vllm"):
        from lazyllm.components.deploy import Vllm  # noqa: F401
    with pytest.raises(MissingComponentError, match="pip install lazyllm-deploy-vllm"):
        _ = lazyllm.deploy.vllm
    with pytest.raises(MissingPluginError, match="pip install lazyllm-launch-k8s"):
        from lazyllm import K8sLauncher  # noqa: F401
    with pytest.raises(MissingPluginError, match="pip install lazyllm-launch-k8s"):
        _ = lazyllm.launcher.K8sLauncher
    assert not hasattr(lazyllm.deploy, "vllm")


def test_an_unknown_component_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="no component 'jsn'.*'json'"):
        _ = lazyllm.formatters.jsn


def fake_entry(group: str, name: str, value: str, distribution: str) -> entries.Entry:
    from importlib.metadata import EntryPoint

    point = EntryPoint(name, value, f"lazyllm.{group}")
    point = SimpleNamespace(  # type: ignore[assignment]
        name=name, value=value, load=point.load, dist=SimpleNamespace(name=distribution, version="1.0")
    )
    return entries.Entry(group, name, value, point)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretend that distributions with these entry points are installed."""

    def install(*found: entries.Entry) -> None:
        table: dict[str, dict[str, list[entries.Entry]]] = {}
        for entry in found:
            table.setdefault(entry.group, {}).setdefault(entry.name.lower(), []).append(entry)
        monkeypatch.setattr(entries, "all_entries", lambda: table)

    return install


def test_two_plugins_with_one_name_are_both_named(installed: Any) -> None:
    installed(fake_entry("deploy", "same", "a:A", "dist-a"), fake_entry("deploy", "Same", "b:B", "dist-b"))
    with pytest.raises(PluginConflictError, match=r"deploy.same is claimed by dist-a 1.0 \(a:A\) and dist-b"):
        _ = lazyllm.deploy.same


def test_one_class_name_under_two_names_means_neither(installed: Any) -> None:
    installed(fake_entry("deploy", "one", "a:Q", "dist-a"), fake_entry("deploy", "other", "b:Q", "dist-b"))
    with pytest.raises(
        PluginConflictError, match=r"deploy.q may mean deploy.one \(dist-a\) or deploy.other \(dist-b\)"
    ):
        _ = lazyllm.deploy.q


def test_a_launcher_goes_by_its_entry_points_name(installed: Any) -> None:
    class _QLauncher(lazyllm.launcher.LazyLLMLaunchersBase):
        submit = query = cancel = None  # type: ignore[assignment]

    package = _QLauncher.__module__.partition(".")[0]
    installed(
        fake_entry("launchers", "theirs", "elsewhere:_QLauncher", "dist-a"),
        fake_entry("launchers", "plain", f"{package}.x:_QLauncher", "dist-b"),
    )
    assert _QLauncher.short_name() == "plain"


def test_a_broken_plugin_is_named_and_harms_no_other(installed: Any) -> None:
    installed(
        fake_entry("formatters", "broken", "no_such_module_here:X", "dist-broken"),
        fake_entry("formatters", "json", "lazyllm.components.formatter:JsonFormatter", "lazyllm-core"),
    )
    assert lazyllm.formatters.json.__name__ == "JsonFormatter"
    with pytest.raises(PluginError, match=r"dist-broken 1.0 .*ModuleNotFoundError"):
        _ = lazyllm.formatters.broken


def test_broken_hooks_harm_no_other(installed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from lazyllm import plugins
    from lazyllm.hookspecs import Engine, Key, hookimpl

    def module(name: str, **functions: Any) -> None:
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(**{k: hookimpl(f) for k, f in functions.items()}))

    module("good_one", lazyllm_engines=lambda: [Engine("e1", "1", "")])
    module("good_two", lazyllm_engines=lambda: [Engine("e2", None, "pip install e2")])
    module("unknown_hook", lazyllm_no_such_hook=lambda: [])
    module("other_arguments", lazyllm_engines=lambda wrong: [])
    module("no_engine", lazyllm_engines=lambda: ["text"])
    names = ("good_one", "good_two", "unknown_hook", "other_arguments", "no_engine")
    of = {"good_one": "dist-good", "good_two": "dist-good"}
    installed(*(fake_entry("plugins", name, name, of.get(name, f"dist-{name}")) for name in names))
    monkeypatch.setattr(plugins, "all_entries", entries.all_entries)
    monkeypatch.setattr(plugins, "hooks", plugins.hooks.__wrapped__)
    found, failed = plugins.call("lazyllm_engines", Engine)
    assert [engine.name for engine in found["dist-good"]] == ["e1", "e2"]
    assert "'text' is no Engine" in failed["dist-no_engine"]
    broken = plugins.hooks()[1]
    assert set(broken) == {"dist-unknown_hook", "dist-other_arguments"}
    assert "lazyllm_no_such_hook" in str(broken["dist-unknown_hook"])
    assert plugins.call("lazyllm_config_keys", Key) == ({}, {})


def test_faults_of_configuration_keys_are_listed(installed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from lazyllm import configs, plugins
    from lazyllm.hookspecs import Key, hookimpl

    def boom() -> list[Key]:
        raise RuntimeError("boom hook")

    keys = [Key("mode", str, "", "mine"), Key("zmine", int, 3, "mine too")]

    def leave() -> list[Key]:
        sys.exit(3)

    hooks = {"fails": boom, "takes_mode": lambda: keys, "leaves": leave}
    for name, hook in hooks.items():
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(lazyllm_config_keys=hookimpl(hook)))
    installed(*(fake_entry("plugins", name, name, f"dist-{name}") for name in hooks))
    monkeypatch.setattr(plugins, "all_entries", entries.all_entries)
    monkeypatch.setattr(plugins, "hooks", plugins.hooks.__wrapped__)
    monkeypatch.setattr(plugins, "config", config := configs.Config())
    faults = {report.distribution: " ".join(report.faults) for report in plugins.report()}
    assert "its lazyllm_config_keys fails with RuntimeError: boom hook" in faults["dist-fails"]
    told = faults["dist-takes_mode"]
    assert "'mode' is there already, with another type and default and desc" in told and "added by lazyllm-core" in told
    assert "fails with SystemExit: 3" in faults["dist-leaves"]
    assert config["zmine"] == 3


def test_what_is_no_component_is_refused(installed: Any) -> None:
    installed(fake_entry("deploy", "odd", "lazyllm.errors:InputError", "dist-odd"))
    with pytest.raises(PluginError, match="deploy.odd of dist-odd .* not a subclass of lazyllm.LazyLLMDeployBase"):
        _ = lazyllm.deploy.odd


def test_the_core_keeps_its_commands(installed: Any) -> None:
    ours = fake_entry("commands", "stop", "lazyllm.cli.jobs:stop", "lazyllm-core")
    theirs = fake_entry("commands", "stop", "json:dumps", "dist-odd")
    assert entries.only([theirs, ours]) is ours
    with pytest.raises(PluginError, match="not a click command"):
        entries.load_component(theirs)


def test_a_class_of_a_plugin_is_found_by_its_name(installed: Any) -> None:
    installed(fake_entry("formatters", "json", "lazyllm.components.formatter:JsonFormatter", "lazyllm-core"))
    from lazyllm.registry import component_by_class_name

    assert component_by_class_name("JsonFormatter").__name__ == "JsonFormatter"


def test_documented_import_paths_resolve() -> None:
    from lazyllm import LOG, Mode, TrainableModule, UrlModule, config, globals, package  # noqa: F401
    from lazyllm.common import Register  # noqa: F401
    from lazyllm.components import EmptyFormatter, JsonFormatter, register
    from lazyllm.components.formatter import FormatterBase
    from lazyllm.components.prompter import PrompterBase  # noqa: F401
    from lazyllm.launcher import RemoteLauncher

    assert register is lazyllm.component_register
    assert issubclass(EmptyFormatter, FormatterBase) and issubclass(JsonFormatter, FormatterBase)
    assert lazyllm.launchers.remote is RemoteLauncher


def test_a_function_joins_a_group_of_the_core() -> None:
    name = f"toy{uuid.uuid4().hex[:6]}"

    @lazyllm.component_register.cmd("deploy", func_name=name)
    def serve(model: str) -> list[str]:
        return ["true", model]

    assert issubclass(getattr(lazyllm.deploy, name), LazyLLMDeployBase)
    with pytest.raises(InputError, match="which functions cannot become"):
        lazyllm.component_register("formatters")


def test_a_name_that_another_class_goes_by_is_taken() -> None:
    base = type("LazyLLMTakenBase", (ComponentBase,), {})
    type("XTaken", (base,), {})
    with pytest.raises(PluginConflictError, match=r"taken\.x is already .*XTaken"):
        type("X", (base,), {})
    assert lazyllm.taken.x is lazyllm.taken.xtaken


def test_asking_whether_a_name_is_there_uses_nothing(installed: Any) -> None:
    installed(fake_entry("deploy", "same", "a:A", "dist-a"), fake_entry("deploy", "same", "b:B", "dist-b"))
    assert "same" in lazyllm.deploy and "thrice" not in lazyllm.deploy


def test_a_group_has_a_name() -> None:
    for wrong in (None, 3):
        with pytest.raises(InputError, match="given by its name"):
            lazyllm.component_register.new_group(wrong)


def test_the_documented_groups_are_exported() -> None:
    found: dict[str, object] = {}
    exec("from lazyllm import *", found)
    assert {"finetune", "deploy", "launchers", "TrainableModule"} <= set(found)
    assert not [name for name in dir(lazyllm) if name.startswith("_") and not name.startswith("__")]
