"""Which trainer or engine is used where none is named."""

from __future__ import annotations

from typing import Any

from ..errors import InputError, MissingComponentError
from ..registry import find_group
from ..registry.catalog import install

PREFERRED = {"finetune": ("auto", "alpacalora"), "deploy": ("auto", "transformers")}
INSTALL = {"finetune": "lazyllm-finetune-alpacalora", "deploy": "lazyllm-deploy-transformers"}

OPTION = {"finetune": "method", "deploy": "engine"}
"""group → the command line's option that names its member"""


def choose(group: str, wished: Any = None) -> Any:
    """Return the class for `wished`: itself if it is a class, the member of `group` if it is a name.

    None stands for the preferred member that is installed, or for the only one.
    """
    members = find_group(group)
    if isinstance(wished, str):
        return getattr(members, wished)
    if isinstance(wished, type) and getattr(wished, "_lazy_llm_group", "").partition(".")[0] == group:
        return wished
    if wished is not None:
        raise InputError(f"{wished!r} is no component of lazyllm.{group}: expected a class such as {group}.NAME.")
    names = [name for name in PREFERRED[group] if name in members][:1] or dir(members)
    if len(names) == 1:
        return getattr(members, names[0])
    if not names:
        raise MissingComponentError(f"No component of lazyllm.{group} is installed.", hint=install(INSTALL[group]))
    raise InputError(
        f"Several components of lazyllm.{group} are installed, name one: {', '.join(names)}.",
        hint=f"lazyllm {group} --{OPTION[group]} {names[0]} …",
    )
