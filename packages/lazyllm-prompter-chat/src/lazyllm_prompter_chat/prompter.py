"""ChatPrompter: an instruction for the system, then the history, then the user's turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lazyllm.components.prompter import PrompterBase

TEMPLATE = "{sos}{system}{instruction}{tools}{eos}\n\n{history}\n{soh}\n{user}{input}\n{eoh}{soa}\n"


class ChatPrompter(PrompterBase):
    """Prompts for models that converse.

    Args:
        instruction: text for the system, or `{'system': …, 'user': …}`; `{slots}` in it are filled from a dict input.
        extro_keys: more keys of the input that are shown to the model, each under its name; also `extra_keys`.
        show: log each prompt at INFO.
        tools: descriptions of functions that the model may call.
        history: `[[user, assistant], …]` or messages that stand before those of each call.
    """

    def __init__(
        self,
        instruction: str | dict[str, str] | None = None,
        extro_keys: str | Sequence[str] | None = None,
        show: bool = False,
        tools: Sequence[Any] | None = None,
        history: Any = None,
        *,
        extra_keys: str | Sequence[str] | None = None,
    ) -> None:
        super().__init__(show, tools, history)
        system, user = self._get_instruction_parts(instruction)
        extra = self._get_extro_key_template(extro_keys, extra_keys=extra_keys)
        if isinstance(instruction, dict):
            user = "\n".join(filter(None, (user, extra)))
        elif system or extra:
            system = f"{system}\n{extra}\n"
        self._init_prompt(TEMPLATE, system + self._mark_user(user))

    @property
    def prefers_messages(self) -> bool:
        """True until a model's own marks are set: without them, a chat API's template knows them better."""
        return not any(self._marks.values())

    def _split_mark(self) -> str | None:
        return self._marks["soa"]
