"""Fine-tune a model, deploy it and call it, on any machine, with only the plugins that you want.

Importing this package loads nothing else: each name below, each group (`lazyllm.finetune`, `lazyllm.deploy`,
`lazyllm.launchers`, …) and each plugin's class is found when it is used.
"""

from __future__ import annotations

from ._lazy import lazy_exports

TYPE_CHECKING = False  # importing typing would cost more than all the rest
if TYPE_CHECKING:
    from typing import Any

    from .common.log import LOG as LOG
    from .common.package import package as package
    from .common.state import globals as globals
    from .components.core import component_register as component_register
    from .components.deploy import LazyLLMDeployBase as LazyLLMDeployBase
    from .components.finetune import LazyLLMFinetuneBase as LazyLLMFinetuneBase
    from .components.formatter import EmptyFormatter as EmptyFormatter
    from .components.formatter import FormatterBase as FormatterBase
    from .components.formatter import JsonFormatter as JsonFormatter
    from .components.prompter import PrompterBase as PrompterBase
    from .configs import Mode as Mode
    from .configs import config as config
    from .module.trainable import TrainableModule as TrainableModule
    from .module.url import UrlModule as UrlModule

__version__ = "0.1.0"

_NAMES = {
    "EmptyFormatter": "lazyllm.components.formatter",
    "FormatterBase": "lazyllm.components.formatter",
    "JsonFormatter": "lazyllm.components.formatter",
    "LazyLLMFormatterBase": "lazyllm.components.formatter",
    "LOG": "lazyllm.common.log",
    "LazyLLMDeployBase": "lazyllm.components.deploy",
    "LazyLLMFinetuneBase": "lazyllm.components.finetune",
    "LazyLLMLaunchersBase": "lazyllm.jobs.launcher",
    "LazyLLMPrompterBase": "lazyllm.components.prompter",
    "Mode": "lazyllm.configs",
    "PrompterBase": "lazyllm.components.prompter",
    "Register": "lazyllm.registry",
    "TrainableModule": "lazyllm.module.trainable",
    "UrlModule": "lazyllm.module.url",
    "component_register": "lazyllm.components.core",
    "config": "lazyllm.configs",
    "decode_query_with_filepaths": "lazyllm.components.formatter",
    "encode_query_with_filepaths": "lazyllm.components.formatter",
    "globals": "lazyllm.common.state",
    "package": "lazyllm.common.package",
}
_SUBMODULES = (
    "cli", "client", "common", "components", "configs", "errors", "hookspecs", "jobs", "launcher", "module", "registry",
)  # fmt: skip


def _group_or_class(name: str) -> Any:
    from .errors import UnknownNameError, near
    from .registry import class_names, component_by_class_name, find_group, group_names

    if name in _SUBMODULES:
        import importlib

        return importlib.import_module(f"lazyllm.{name}")
    if name.startswith("_"):
        raise AttributeError(f"module 'lazyllm' has no attribute {name!r}")
    for find in (find_group, component_by_class_name):
        try:
            return find(name)
        except AttributeError:
            continue
    known = {*_NAMES, *group_names(), *class_names()}
    raise UnknownNameError(f"lazyllm has no {name!r}. {near(name, known)}")


def _is_taken(name: str) -> bool:
    import sys
    from importlib.util import find_spec

    return name in _NAMES or name in vars(sys.modules[__name__]) or find_spec(f"lazyllm.{name}") is not None


__getattr__, _dir, _all = lazy_exports(__name__, _NAMES, _group_or_class)
__all__ = sorted([*_all, "deploy", "finetune", "launchers"])


def __dir__() -> list[str]:
    from .registry import group_names

    return sorted({*_dir(), *_SUBMODULES, *(g for g in group_names() if "." not in g)})
