"""`UrlModule`: a served model as a function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from ..errors import InputError
from ..registry.arguments import Checked

if TYPE_CHECKING:
    from ..client.engine import EngineClient
    from ..client.openai import OpenAIClient
    from ..components.formatter import FormatterBase
    from ..components.prompter import PrompterBase

STOPS = {"stop", "stop_words", "stop_sequences"}
"""Names of the parameter that ends an answer"""


class UrlModule(metaclass=Checked):
    """Calls the server at `url`: input → prompter → request → answer → formatter.

    Without a prompter a string is sent to /completions as it is; `{"messages": [...]}`, a list of messages, and a
    string that comes with a history or tools go to /chat/completions. A ChatPrompter makes messages, which the model's
    own chat template turns into its prompt; other prompters, and engines with a protocol of their own, use strings.

    Args:
        url: the URL that a deploy returned, such as `http://127.0.0.1:21000/v1`.
        stream: calls return an iterator of the answer's pieces instead of the answer.
        protocol: `openai`, or the name of the engine in `lazyllm.deploy` that says how it is spoken to; by default what
            the job that serves the URL says, else `openai`.
        model: name of the model for the openai protocol; by default the first that the server lists.
        api_key: by default `config["api_key"]`, or the key of this user's job that serves the URL.
        timeout: seconds without a byte after which a request is given up.
    """

    def __init__(
        self,
        url: str = "",
        *,
        stream: bool = False,
        protocol: str | None = None,
        model: str | None = None,
        api_key: str | None = None,
        timeout: float | None = 600.0,
    ) -> None:
        from ..client.checks import check_key, check_timeout

        if not isinstance(url, str):
            raise InputError(f"url={url!r} is no text: expected http://HOST:PORT/PATH.")
        check_timeout(timeout)
        check_key(api_key)
        self._url = url
        self._stream = stream
        if protocol not in (None, "openai"):
            _engine(str(protocol))
        self._protocol = protocol
        self._options = {"model": model, "api_key": api_key, "timeout": timeout}
        self._client: OpenAIClient | EngineClient | None = None
        self.prompt()
        self.formatter()

    @property
    def url(self) -> str:
        """Where requests go; empty until something is served."""
        return self._url

    @property
    def protocol(self) -> str:
        """How the server is spoken to: `openai`, or the name of an engine in `lazyllm.deploy`."""
        if self._protocol is None and self._url:
            self._protocol = _protocol_of(self._url)
        return self._protocol or "openai"

    def _set_url(self, url: str) -> None:
        self.close()
        self._url = url

    def prompt(self, prompt: PrompterBase | str | Mapping[str, str] | None = None, history: Any = None) -> Self:
        """Set the prompter: a prompter, an instruction for a ChatPrompter, or None to send the input as it is."""
        from ..components.prompter import EmptyPrompter, PrompterBase

        if history is not None and (prompt is None or isinstance(prompt, PrompterBase)):
            raise InputError("history is taken together with an instruction; give a prompter its own history.")
        if prompt is None:
            self._prompt: Any = EmptyPrompter()
        elif isinstance(prompt, PrompterBase):
            self._prompt = prompt
        elif isinstance(prompt, (str, Mapping)):
            from ..registry import component_by_class_name

            self._prompt = component_by_class_name("ChatPrompter")(prompt, history=history)
        else:
            raise InputError(f"prompt={prompt!r} is neither a prompter nor an instruction (string or mapping).")
        return self

    def formatter(self, formatter: FormatterBase | Any = None) -> Self:
        """Set what is done with the answer: a formatter, any callable, or None for nothing."""
        from ..components.formatter import EmptyFormatter

        if isinstance(formatter, type):
            raise InputError(f"formatter={formatter.__name__} is a class: give an instance, {formatter.__name__}().")
        if formatter is not None and not callable(formatter):
            raise InputError(f"formatter={formatter!r} cannot be called: expected a formatter or a function.")
        self._formatter = EmptyFormatter() if formatter is None else formatter
        return self

    @property
    def client(self) -> OpenAIClient | EngineClient:
        """The connection to the server, made when it is first needed."""
        if not self._url:
            raise InputError("Nothing is served yet: give a URL, or call start() or update() first.")
        if "{" in self._url:
            raise InputError("Nothing is served: in display mode commands are shown only.", hint="lazyllm config mode")
        if self._client is None:
            from ..client.openai import OpenAIClient

            if self._speaks_openai():
                self._client = OpenAIClient(self._url, **self._options)  # type: ignore[arg-type]
            else:
                from ..client.engine import EngineClient

                engine = _engine(self.protocol)
                options = {name: self._options[name] for name in ("api_key", "timeout")}
                self._client = EngineClient(self._url, engine, **options)  # type: ignore[arg-type]
        return self._client

    def _speaks_openai(self) -> bool:
        return self.protocol == "openai"

    def _takes_stop(self) -> bool:
        return self._speaks_openai() or "stop" in (_engine(self.protocol).keys_name_handle or {})

    def _make_prompt(self, given: Any, history: Any, tools: Any) -> Any:
        from ..components.formatter import decode_query_with_filepaths
        from ..components.prompter import EmptyPrompter

        if isinstance(given, str) and given.startswith("<lazyllm-query>"):
            query: Any = decode_query_with_filepaths(given)
            if query["files"]:
                raise InputError("This module sends text only; the input names files.")
            given = query["query"]
        chat = self._prompt.prefers_messages or (isinstance(self._prompt, EmptyPrompter) and bool(history or tools))
        chat = chat and self._speaks_openai()
        prompt = self._prompt.generate_prompt(given, history=history, tools=tools, return_dict=chat)
        return {"messages": prompt} if isinstance(prompt, list) else prompt

    def __call__(
        self,
        input: Any = None,
        *,
        history: Any = None,
        llm_chat_history: Any = None,
        tools: Any = None,
        stream: bool | None = None,
        timeout: float | None = None,
        **parameters: Any,
    ) -> Any:
        """Return the formatted answer, or with `stream` an iterator of its unformatted pieces; with `n` > 1, a list.

        An answer that calls tools is the assistant's message, a dict with `tool_calls`, as it came; in a stream it is
        the last piece. It can stand in the next call's history, followed by the tools' messages.

        Args:
            input: what the prompter takes: a string, a mapping of its slots, messages.
            history: `[[user, assistant], …]` or messages (`llm_chat_history` is its historic name).
            tools: tool descriptions of the OpenAI form.
            timeout: seconds without a byte after which this request is given up.
            **parameters: `max_new_tokens` (or `max_tokens`), `temperature`, `top_p`, `stop`, …
        """
        if history is not None and llm_chat_history is not None:
            raise InputError("history and llm_chat_history are one parameter; give it once.")
        prompt = self._make_prompt(input, history if history is not None else llm_chat_history, tools)
        if isinstance(prompt, str) and self._prompt.stop_words and not STOPS & set(parameters) and self._takes_stop():
            parameters["stop"] = self._prompt.stop_words
        if self._stream if stream is None else stream:
            return self._pieces(prompt, timeout, parameters)
        answer = self.client.ask(prompt, timeout=timeout, **parameters)
        if isinstance(answer, list) and self._speaks_openai():  # n > 1
            return [self._finished(one, prompt) for one in answer]
        return self._finished(answer, prompt)

    def _finished(self, answer: Any, prompt: Any) -> Any:
        if isinstance(prompt, str) and isinstance(answer, str):
            answer = self._prompt.get_response(answer, prompt)
        return answer if isinstance(answer, dict) and answer.get("tool_calls") else self._formatter(answer)

    def _pieces(self, prompt: Any, timeout: float | None, parameters: Mapping[str, Any]) -> Iterator[Any]:
        return self.client.stream(prompt, timeout=timeout, **parameters)

    def close(self) -> None:
        """Close the connections; the next call opens them again."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def __getstate__(self) -> dict[str, Any]:
        """What a copy gets: all but the connections, which it opens for itself."""
        return {**self.__dict__, "_client": None}

    def __repr__(self) -> str:
        return f"<lazyllm.{type(self).__name__} url={self._url or None!r}>"


def _engine(protocol: str) -> Any:
    """Return the engine's class that describes `protocol`."""
    from ..registry import find_group

    return getattr(find_group("deploy"), protocol)


def _protocol_of(url: str) -> str:
    """Return the protocol that the job which serves `url` names, `openai` where there is none."""
    if url.rstrip("/").endswith("/v1"):
        return "openai"
    from ..jobs.manage import find

    try:
        service = find(url).data.get("service")
    except InputError:
        service = None
    return str(service["protocol"]) if service else "openai"
