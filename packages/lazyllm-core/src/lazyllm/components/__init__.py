"""Components under their historic names; each is loaded when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._lazy import lazy_exports

if TYPE_CHECKING:
    from .core import ComponentBase as ComponentBase
    from .core import component_register as register
    from .deploy import LazyLLMDeployBase as LazyLLMDeployBase
    from .finetune import LazyLLMFinetuneBase as LazyLLMFinetuneBase
    from .formatter import EmptyFormatter as EmptyFormatter
    from .formatter import FormatterBase as FormatterBase
    from .formatter import JsonFormatter as JsonFormatter
    from .prompter import PrompterBase as PrompterBase

    _ = register


def _others(name: str) -> Any:
    if name == "register":
        from .core import component_register

        return component_register
    from ..registry import component_by_class_name

    return component_by_class_name(name, __name__)


__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "ComponentBase": "lazyllm.components.core",
        "EmptyFormatter": "lazyllm.components.formatter",
        "EmptyPrompter": "lazyllm.components.prompter",
        "FormatterBase": "lazyllm.components.formatter",
        "JsonFormatter": "lazyllm.components.formatter",
        "LazyLLMDeployBase": "lazyllm.components.deploy",
        "LazyLLMFinetuneBase": "lazyllm.components.finetune",
        "LazyLLMFormatterBase": "lazyllm.components.formatter",
        "LazyLLMPrompterBase": "lazyllm.components.prompter",
        "PrompterBase": "lazyllm.components.prompter",
        "component_register": "lazyllm.components.core",
        "decode_query_with_filepaths": "lazyllm.components.formatter",
        "encode_query_with_filepaths": "lazyllm.components.formatter",
    },
    _others,
)
