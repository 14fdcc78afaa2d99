"""Prompters: from input, history, tools and label to the prompt of a model."""

from __future__ import annotations

from typing import Any

from .base import LazyLLMPrompterBase, PrompterBase
from .empty import EmptyPrompter

__all__ = ["EmptyPrompter", "LazyLLMPrompterBase", "PrompterBase"]


def __getattr__(name: str) -> Any:
    """Find a plugin's prompter by its class name, such as ChatPrompter."""
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ...registry import component_by_class_name

    return component_by_class_name(name, __name__)
