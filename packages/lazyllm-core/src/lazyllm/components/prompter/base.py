"""What every prompter is: a template, an instruction and a model's marks, made into prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...errors import PromptError, near
from ...registry import Registered
from .history import check_history, history_messages, history_text
from .instruction import EXTRA_PREFIX, ISA, ISE, TOOL_TOKENS, Instruction, extra_keys_text, instruction_parts
from .template import Template
from .tools import check_tools, tools_text
from .user_input import input_messages, input_text

MARKS = ("sos", "eos", "soh", "eoh", "soa", "eoa", "soe", "eoe")
SLOTS = ("system", "instruction", "input", "user", "history", "tools", *MARKS[:6])
DEFAULT_SYSTEM = "You are an AI-Agent developed by LazyLLM."

Hook = Callable[[Any, Any, Any, Any], tuple[Any, Any, Any, Any]]


class LazyLLMPrompterBase(Registered):
    """Makes prompts: a string for a model that continues text, messages for a chat API.

    A subclass gives a template and an instruction template to `_init_prompt`:

        class MyPrompter(PrompterBase):
            def __init__(self, instruction=""):
                super().__init__()
                self._init_prompt("{system}|{instruction}{history}{input}\\n## Answer:", instruction, "## Answer:")

    Args:
        show: log each prompt at INFO.
        tools: descriptions of functions, for every prompt.
        history: turns that stand before those of each call.
    """

    ISA = ISA
    ISE = ISE

    def __init__(self, show: bool = False, tools: Sequence[Any] | None = None, history: Any = None) -> None:
        self._show = show
        self._tools = check_tools(tools)
        self._tools_text = tools_text(self._tools)
        self._history = list(check_history(history))
        self._system = DEFAULT_SYSTEM
        self._marks = dict.fromkeys((*MARKS, *TOOL_TOKENS), "")
        self._settings: dict[str, Any] = {}
        self._pre_hook: Hook | None = None
        self._split: str | None = None
        self._unbound: tuple[Template, Instruction] | None = None

    def _init_prompt(self, template: str, instruction_template: str, split: str | None = None) -> None:
        """Set the prompt's template and its instruction; answers are what stands after the last `split`.

        Raises:
            PromptError: a slot of the template is none of `SLOTS`, or the instruction's marks do not pair.
        """
        if not isinstance(template, str) or not isinstance(instruction_template, str):
            raise PromptError("A template and an instruction template are text.")
        cut = Template(template)
        for name in cut.names:
            if name not in SLOTS:
                raise PromptError(f"A template has no slot {{{name}}}. {near(name, SLOTS)}")
        if "user" not in cut.names:
            cut = Template(template.replace("{input}", "{user}{input}"))
        self._split = split
        self._unbound = cut, Instruction(instruction_template)
        self._bind()

    def _bind(self) -> None:
        """Write the model's marks and system text into the template, for a person's turn and for a tool's."""
        if self._unbound is None:
            return
        template, instruction = self._unbound
        self._instruction = instruction.bind(self._marks)
        human = {"system": self._system, **{mark: self._marks[mark] for mark in MARKS[:6]}}
        if self._instruction.fixed:
            human["instruction"], human["user"] = self._instruction.fixed
        tool = {**human, "soh": self._marks["soe"], "eoh": self._marks["eoe"]}
        self._takes_input = "input" in template.names
        self._lacking = tuple(name for name in ("user", "history", "tools") if name not in template.names)
        self._for_human, self._for_tool = template.bind(human), template.bind(tool)
        own = {"tools": self._tools_text}
        self._for_human_own, self._for_tool_own = self._for_human.bind(own), self._for_tool.bind(own)

    def _set_model_configs(
        self,
        system: str | None = None,
        *,
        separator: str | None = None,
        plugin: str | None = None,
        interpreter: str | None = None,
        stop_words: Sequence[str] | None = None,
        **marks: str | None,
    ) -> None:
        """Set a model's own system text and marks; what is None or left out stays as it was.

        Args:
            system: the system text before every instruction.
            stop_words: texts that end the model's answers, where a prompt is a string.
            separator, plugin, interpreter: kept; nothing here uses them.
            marks: sos, eos, soh, eoh, soa, eoa, soe, eoe, tool_start_token, tool_args_token, tool_end_token.

        Raises:
            PromptError: a mark that does not exist, or one that is no text.
        """
        for name, mark in marks.items():
            if name not in self._marks:
                known = (*self._marks, "system", "separator", "plugin", "interpreter", "stop_words")
                raise PromptError(f"A model has no setting {name!r}. {near(name, known)}")
            if not isinstance(mark, str | None):
                raise PromptError(f"The mark {name} is text, not {type(mark).__name__}.")
        stop_words = [stop_words] if isinstance(stop_words, str) else stop_words
        if stop_words is not None and not all(isinstance(word, str) and word for word in stop_words):
            raise PromptError(f"stop_words are texts, none of them empty, not {stop_words!r:.80}.")
        if not isinstance(system, str | None):
            raise PromptError(f"The system text is text, not {type(system).__name__}.")
        self._system = self._system if system is None else system
        self._marks.update((name, mark) for name, mark in marks.items() if mark is not None)
        kept = {"separator": separator, "plugin": plugin, "interpreter": interpreter, "stop_words": stop_words}
        self._settings.update((name, value) for name, value in kept.items() if value is not None)
        self._bind()

    @property
    def stop_words(self) -> list[str]:
        """Texts that end the model's answers, as `_set_model_configs` was told."""
        return list(self._settings.get("stop_words") or ())

    @property
    def prefers_messages(self) -> bool:
        """Whether a client that speaks a chat API should ask for messages instead of a string."""
        return False

    @staticmethod
    def _get_extro_key_template(extro_keys: Any = None, prefix: str = EXTRA_PREFIX, *, extra_keys: Any = None) -> str:
        """Return the part of an instruction that shows the extra keys: `### key:` and a slot for each."""
        return extra_keys_text(extro_keys, prefix, extra_keys)

    @staticmethod
    def _get_instruction_parts(instruction: Any) -> tuple[str, str]:
        """Return the system and the user part of text (which has none), of `{'system': …, 'user': …}` or of None."""
        return instruction_parts(instruction)

    @staticmethod
    def _mark_user(user: str) -> str:
        """Return the user part of an instruction between ISA and ISE, "" for none."""
        return f"{ISA}{user}{ISE}" if user else ""

    def pre_hook(self, func: Hook | None = None) -> LazyLLMPrompterBase:
        """Let `func(input, history, tools, label)` return the four that a prompt is made of; None takes it away."""
        if func is not None and not callable(func):
            raise PromptError(f"A pre_hook is a function, not {type(func).__name__}.")
        self._pre_hook = func
        return self

    def _check_values(self, instruction: str, input: Any, history: Sequence[Any], tools: list[Any] | None) -> None:
        """Raise an error for what this prompter cannot use; for subclasses.

        `instruction` has its slots filled, its user part stands between ISA and ISE. `input` is what no slot took.
        """

    def generate_prompt(
        self,
        input: Any = None,
        history: Any = None,
        tools: Sequence[Any] | None = None,
        label: str | None = None,
        *,
        show: bool = False,
        return_dict: bool = False,
    ) -> Any:
        """Return the prompt: a string, or with `return_dict` `{'messages': […]}` and `'tools'` if there are any.

        Args:
            input: text, or a dict with a value for each slot of the instruction and at most one for the user's turn.
            history: `[[user, assistant], …]` or a chat API's messages; they come after the constructor's.
            tools: descriptions of functions, if the constructor got none.
            label: the expected answer, appended to the string.
            show: log the prompt at INFO.

        Raises:
            PromptError: what was given does not fit the instruction; nothing of it is changed, whatever happens.
        """
        if self._pre_hook is not None:
            four = self._pre_hook(input, history, tools, label)
            if not isinstance(four, (tuple, list)) or len(four) != 4:
                raise PromptError(f"A pre_hook returns input, history, tools and label, not {four!r:.80}.")
            input, history, tools, label = four
        turns: Sequence[Any] = self._history
        if history:
            turns = [*turns, *check_history(history)] if turns else check_history(history)
        if tools and self._tools:
            raise PromptError("Tools were given to the prompter and to this call; expected one of them.")
        prompt = self._make_prompt(input, turns, check_tools(tools) if tools else self._tools, label, return_dict)
        if show or self._show:
            from ...common.log import LOG

            LOG.info("prompt: %s", prompt)
        return prompt

    def _make_prompt(self, given: Any, turns: Sequence[Any], tools: Any, label: Any, return_dict: bool) -> Any:
        if self._unbound is None:
            raise PromptError(f"{type(self).__name__} has no template: its constructor calls _init_prompt(…) first.")
        texts, asked = self._instruction.read(given, self._takes_input)
        system, user = self._instruction.fill(texts)
        self._check_values(system + self._mark_user(user) if user else system, asked, turns, tools)
        if return_dict:
            content = f"{self._system}\n{system}" if self._system and system else self._system or system
            messages = [{"role": "system", "content": content}, *history_messages(turns), *input_messages(asked, user)]
            return {"messages": messages, "tools": list(tools)} if tools else {"messages": messages}
        said, is_tool = (asked, False) if type(asked) is str else input_text(asked)
        if tools is self._tools:
            template, described = self._for_tool_own if is_tool else self._for_human_own, self._tools_text
        else:
            template, described = self._for_tool if is_tool else self._for_human, tools_text(tools)
        before = history_text(turns, self._marks) if turns else ""
        values = {"instruction": system, "user": user, "input": said, "history": before, "tools": described}
        for name in self._lacking:
            if values[name]:
                raise PromptError(
                    f"The template of {type(self).__name__} has no slot {{{name}}}: {name} would be lost."
                )
        text = template.fill(values)
        return text if label is None else f"{text}{label}"

    def get_response(self, output: str, input: str | None = None) -> str:
        """Return a model's answer without the prompt `input`, or what stands after the last split mark."""
        if isinstance(input, str) and input and output.startswith(input):
            return output[len(input) :]
        mark = self._split_mark()
        return output.rpartition(mark)[2] if mark else output

    def _split_mark(self) -> str | None:
        """Return the text that an answer stands behind, if there is one."""
        return self._split


PrompterBase = LazyLLMPrompterBase
