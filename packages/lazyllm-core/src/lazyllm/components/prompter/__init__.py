"""Prompters: from input, history, tools and label to the prompt of a model."""

from __future__ import annotations

from ...registry.classes import class_finder
from .base import LazyLLMPrompterBase, PrompterBase
from .empty import EmptyPrompter

__all__ = ["EmptyPrompter", "LazyLLMPrompterBase", "PrompterBase"]


__getattr__ = class_finder(__name__)
