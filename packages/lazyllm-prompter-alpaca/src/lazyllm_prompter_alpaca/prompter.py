"""AlpacaPrompter: one instruction, one response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lazyllm.components.prompter import PrompterBase
from lazyllm.errors import PromptError

TEMPLATE = "{system}\n{instruction}\n{tools}\n{user}### Response:\n"
# The sentence that models tuned on the alpaca data have seen.
HEAD = (
    "Below is an instruction that describes a task, paired with extra messages such as input that provides further "
    "context if possible. Write a response that appropriately completes the request.\n\n### Instruction:\n"
)


class AlpacaPrompter(PrompterBase):
    """Prompts in the alpaca template: no history, and all input has a slot in the instruction.

    Args:
        instruction: text, or `{'system': …, 'user': …}`; `{slots}` in it are filled from the input.
        extro_keys: more keys of the input that are shown to the model, each under its name; also `extra_keys`.
        show: log each prompt at INFO.
        tools: descriptions of functions that the model may call.
    """

    def __init__(
        self,
        instruction: str | dict[str, str] | None = None,
        extro_keys: str | Sequence[str] | None = None,
        show: bool = False,
        tools: Sequence[Any] | None = None,
        *,
        extra_keys: str | Sequence[str] | None = None,
    ) -> None:
        super().__init__(show, tools)
        system, user = self._get_instruction_parts(instruction)
        extra = self._get_extro_key_template(extro_keys, extra_keys=extra_keys)
        if isinstance(instruction, dict):
            user = "\n\n".join(filter(None, (user, extra)))
        else:
            system = f"{system}\n\n{extra}"
        self._init_prompt(TEMPLATE, HEAD + system + self._mark_user(user), "### Response:")

    def _check_values(self, instruction: str, input: Any, history: Sequence[Any], tools: list[Any] | None) -> None:
        if history:
            raise PromptError("An AlpacaPrompter takes no history.", hint="ChatPrompter does.")
