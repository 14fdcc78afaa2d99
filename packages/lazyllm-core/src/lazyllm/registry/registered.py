"""Classes that register themselves by being defined."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from .arguments import Checked
from .group import canonical, open_group


class Registered(metaclass=Checked):
    """Base of everything that groups hold.

    A subclass called `LazyLLM<X>Base` opens group x; a subclass of that one becomes a member of the group.
    A class whose name begins with an underscore does neither.
    """

    _lazy_llm_group: ClassVar[str] = ""

    def __init_subclass__(cls, **kw: Any) -> None:
        super().__init_subclass__(**kw)
        if cls.__name__.startswith("_"):
            return
        if opened := re.fullmatch(r"LazyLLM(\w+)Base", cls.__name__):
            outer = cls._lazy_llm_group
            name = canonical(opened[1])
            cls._lazy_llm_group = f"{outer}.{name}" if outer else name
            open_group(cls._lazy_llm_group, cls)
        elif cls._lazy_llm_group:
            open_group_of(cls)._add(cls)

    @classmethod
    def component_name(cls) -> str:
        """Return what users call this component: `deploy.vllm`."""
        from .group import find_group

        return f"{cls._lazy_llm_group}.{find_group(cls._lazy_llm_group).name_of(cls)}"


def open_group_of(cls: type[Registered]) -> Any:
    """Return the group that `cls` belongs to."""
    from .group import find_group

    return find_group(cls._lazy_llm_group)
