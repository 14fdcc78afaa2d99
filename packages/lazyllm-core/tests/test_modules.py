"""UrlModule and TrainableModule: prompter, request, answer, formatter, and the order of work."""

from __future__ import annotations

import copy
import inspect
import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lazyllm import JsonFormatter, TrainableModule, UrlModule
from lazyllm.components import LazyLLMDeployBase, LazyLLMFinetuneBase
from lazyllm.components.prompter import PrompterBase
from lazyllm.errors import InputError, ServiceError

pytestmark = pytest.mark.usefixtures("shout")


class Upper(PrompterBase):
    """A prompter whose prompts are easy to read in assertions."""

    def __init__(self) -> None:
        super().__init__()
        self._init_prompt("{instruction}{history}|{input}|", "{instruction}")
        self._instruction_template = ""

    def generate_prompt(self, input: Any = None, history: Any = None, tools: Any = None, **kw: Any) -> Any:
        return f"PROMPT<{input}>{json.dumps(history) if history else ''}"


@pytest.fixture
def echo(double: Any) -> Any:
    """A server that answers with the prompt, or with the last message."""
    double.answers["/v1/completions"] = lambda body: {"choices": [{"text": f"got {body['prompt']}"}]}
    double.answers["/v1/chat/completions"] = lambda body: {
        "choices": [{"message": {"content": f"got {body['messages'][-1]['content']}"}}]
    }
    return double


def test_without_a_prompter_the_input_is_sent_as_it_is(echo: Any) -> None:
    module = UrlModule(echo.url)
    assert module("hello") == "got hello"
    assert module({"messages": [{"role": "user", "content": "hi"}]}) == "got hi"
    assert module([{"role": "user", "content": "list"}]) == "got list"
    assert module("now", history=[["a", "b"]]) == "got now"
    assert [m["content"] for m in echo.requests("/v1/chat/completions")[-1]["messages"]] == ["a", "b", "now"]


def test_prompter_and_formatter(echo: Any) -> None:
    module = UrlModule(url=echo.url).prompt(Upper()).formatter(lambda text: text.upper())
    assert module("x", history=[["a", "b"]], max_new_tokens=7) == 'GOT PROMPT<X>[["A", "B"]]'
    assert echo.requests("/v1/completions")[-1]["max_tokens"] == 7


def test_json_out(double: Any) -> None:
    double.answers["/v1/completions"] = {"choices": [{"text": 'Sure: {"capital": "Paris"} there.'}]}
    assert UrlModule(double.url).formatter(JsonFormatter("[capital]"))("q") == "Paris"


def test_streams_yield_pieces(double: Any, sse: Any) -> None:
    double.answers["/v1/completions"] = sse({"choices": [{"text": "a"}]}, {"choices": [{"text": "b"}]})
    assert list(UrlModule(double.url, stream=True)("q")) == ["a", "b"]
    assert list(UrlModule(double.url)("q", stream=True)) == ["a", "b"]


def test_an_engines_own_protocol(double: Any) -> None:
    url = double.url.removesuffix("/v1") + "/generate"
    double.answers["/generate"] = lambda body: {"answer": body["text"].upper()}
    double.answers["/generate_stream"] = b'{"answer": "a"}\0{"answer": "\xc3\xbc"}\0'
    module = UrlModule(url, protocol="shout")
    assert module("hi", max_new_tokens=3, stop=["x"]) == "HI"
    assert double.requests("/generate") == [{"text": "hi", "parameters": {"max_new_tokens": 3, "stop_words": ["x"]}}]
    assert list(module("hi", stream=True)) == ["a", "ü"]
    with pytest.raises(InputError, match="takes no parameter 'max_tokns'.*max_new_tokens"):
        module("hi", max_tokns=3)


def test_an_engine_of_its_own_protocol_gets_the_key(double: Any) -> None:
    double.answers["/generate"] = {"answer": "yes"}
    UrlModule(double.url.removesuffix("/v1") + "/generate", protocol="shout", api_key="k")("hi")
    assert double.headers["Authorization"] == "Bearer k"


def test_an_engine_of_strings_gets_strings(double: Any) -> None:
    url = double.url.removesuffix("/v1") + "/generate"
    double.answers["/generate"] = lambda body: {"answer": body["text"]}
    module = UrlModule(url, protocol="shout")
    assert module({"messages": [{"role": "user", "content": "hi"}]}) == "hi"
    with pytest.raises(InputError, match="one text, not 2 messages"):
        module([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}])
    double.answers["/generate"] = {"no": "answer"}
    with pytest.raises(ServiceError, match="ShoutDeploy.extract_result fails with KeyError"):
        module("hi")


def test_what_is_refused(echo: Any) -> None:
    with pytest.raises(InputError, match="Nothing is served yet"):
        UrlModule()("x")
    with pytest.raises(InputError, match="neither a prompter nor an instruction"):
        UrlModule(echo.url).prompt(42)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="cannot be called"):
        UrlModule(echo.url).formatter("json")
    with pytest.raises(InputError, match=r"is a class: give an instance, JsonFormatter\(\)"):
        UrlModule(echo.url).formatter(JsonFormatter)
    with pytest.raises(AttributeError, match="'shouty'.*'shout'"):
        UrlModule(echo.url, protocol="shouty")
    with pytest.raises(InputError, match="one parameter"):
        UrlModule(echo.url)("x", history=[], llm_chat_history=[])
    with pytest.raises(InputError, match="names files"):
        UrlModule(echo.url)('<lazyllm-query>{"query": "what", "files": ["a.png"]}')


class _Job:
    def __init__(self, url: str) -> None:
        self.url, self.stopped = url, False

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def parts(double: Any, tmp_path: Path) -> Any:
    """A trainer and an engine that only note how they are called."""
    calls: list[Any] = []

    class _Trainer(LazyLLMFinetuneBase):
        defaults = {"lora_r": 8}

        def __init__(self, base: Any, target: Any, **kw: Any) -> None:
            calls.append(("trainer", base, target, kw))

        def __call__(self, trainset: Any = None, valset: Any = None) -> str:
            calls.append(("train", trainset))
            return "merged"

    class _Engine(LazyLLMDeployBase):
        defaults = {"port": None}
        job: Any

        def __init__(self, **kw: Any) -> None:
            calls.append(("engine", kw))
            self.job = _Job(double.url)
            self.stream = False

        def cmd(self, tuned: Any = None, base: Any = None) -> Any:
            calls.append(("look", tuned, base))

        def __call__(self, tuned: Any = None, base: Any = None) -> str:
            calls.append(("serve", tuned, base))
            return self.job.url

    return SimpleNamespace(calls=calls, trainer=_Trainer, engine=_Engine, double=double)


def test_update_trains_then_serves(parts: Any, tmp_path: Path) -> None:
    parts.double.answers["/v1/completions"] = {"choices": [{"text": "tuned"}]}
    module = (
        TrainableModule("base", str(tmp_path)).finetune_method(parts.trainer, lora_r=4).trainset(lambda: "data.json")
    )
    module.deploy_method(parts.engine, port=None).mode("finetune").update()
    assert parts.calls == [
        ("engine", {"port": None}),
        ("look", None, "base"),
        ("trainer", "base", str(tmp_path), {"lora_r": 4}),
        ("train", "data.json"),
        ("serve", "merged", "base"),
    ]
    assert module("hello", max_new_tokens=64) == "tuned"
    job = module.job
    module.stop()
    assert job.stopped and not module.url
    module.update()
    assert [c[0] for c in parts.calls[5:]] == ["engine", "serve"], "a model is trained once for one mode('finetune')"
    assert parts.calls[-1] == ("serve", "merged", "base")


def test_an_earlier_result_is_served(parts: Any, tmp_path: Path) -> None:
    with TrainableModule("base", str(tmp_path)).deploy_method(parts.engine).start():
        assert parts.calls[-1] == ("serve", None, "base")
    (tmp_path / "lazyllm_merge").mkdir()
    (tmp_path / "lazyllm_merge" / "config.json").write_text("{}")
    TrainableModule("base", str(tmp_path)).deploy_method(parts.engine).update_server()
    assert parts.calls[-1] == ("serve", str(tmp_path), "base")


def test_training_that_fails_serves_nothing(parts: Any, tmp_path: Path) -> None:
    def fail(self: Any, trainset: Any) -> str:
        raise ServiceError("no")

    parts.trainer.__call__ = fail
    module = TrainableModule("base", str(tmp_path)).finetune_method(parts.trainer).trainset("d")
    with pytest.raises(ServiceError):
        module.deploy_method(parts.engine).mode("finetune").update()
    assert [c[0] for c in parts.calls] == ["engine", "look", "trainer"]


def test_an_engine_that_cannot_serve_it_is_told_before_the_training(parts: Any, tmp_path: Path) -> None:
    def refuse(self: Any, tuned: Any = None, base: Any = None) -> Any:
        raise InputError("port=0 is no port")

    parts.engine.cmd = refuse
    module = TrainableModule("base", str(tmp_path)).finetune_method(parts.trainer).trainset("d")
    with pytest.raises(InputError, match="no port"):
        module.deploy_method(parts.engine).mode("finetune").update()
    with pytest.raises(InputError, match=r"has no keyword 'prot'\. Did you mean 'port'"):
        module.deploy_method(parts.engine, prot=1)
    with pytest.raises(InputError, match=r"has no keyword 'lora_rr'\. Did you mean 'lora_r'"):
        module.finetune_method(parts.trainer, lora_rr=1)
    for wrong in (parts.trainer, str):
        with pytest.raises(InputError, match=r"no component of lazyllm\.deploy"):
            module.deploy_method(wrong)
    with pytest.raises(InputError, match=r"no component of lazyllm\.finetune"):
        module.finetune_method(parts.engine)
    assert [c[0] for c in parts.calls] == ["engine"], "nothing was trained"


def test_stop_words_of_a_prompter_end_an_answer(echo: Any, double: Any) -> None:
    prompter = Upper()
    prompter._set_model_configs(stop_words=["</s>"])
    module = UrlModule(echo.url).prompt(prompter)
    module("x")
    module("x", stop_words=["own"])
    assert [body.get("stop") for body in echo.requests("/v1/completions")] == [["</s>"], ["own"]]
    double.answers["/generate"] = {"answer": "yes"}
    UrlModule(echo.url.removesuffix("/v1") + "/generate", protocol="shout").prompt(prompter)("x")
    assert double.requests("/generate")[0]["parameters"]["stop_words"] == ["</s>"]


def test_unknown_arguments_are_named() -> None:
    with pytest.raises(InputError, match=r"UrlModule has no argument 'steam'\. Did you mean 'stream'"):
        UrlModule("http://127.0.0.1:1/v1", steam=True)  # type: ignore[call-arg]
    assert str(inspect.signature(JsonFormatter)) == "(selector: 'str | None' = None) -> 'None'"
    with pytest.raises(TypeError, match=r"no argument 'seletor'\. Did you mean 'selector'"):
        JsonFormatter(seletor="[0]")  # type: ignore[call-arg]


def test_display_mode_serves_nothing() -> None:
    with pytest.raises(InputError, match="Nothing is served: in display mode"):
        UrlModule("http://{ip}:{port}/v1")("x")


def test_missing_pieces_are_named(parts: Any) -> None:
    module = TrainableModule("base").finetune_method(parts.trainer).mode("finetune")
    with pytest.raises(InputError, match=r"trainset\(path\)"):
        module.update()
    with pytest.raises(InputError, match="target_path"):
        module.trainset("d").update()
    with pytest.raises(InputError, match="'finetune', 'deploy'"):
        module.mode("finetun")
    with pytest.raises(InputError, match="no component of lazyllm.deploy"):
        module.deploy_method(42)


def test_a_message_that_calls_tools_is_not_formatted(double: Any) -> None:
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    double.answers["/v1/chat/completions"] = {"choices": [{"message": message}]}
    module = UrlModule(double.url).formatter(JsonFormatter("[city]"))
    assert module([{"role": "user", "content": "weather?"}]) == message


def test_a_used_module_can_be_copied(echo: Any) -> None:
    module = UrlModule(echo.url).formatter(str.upper)
    assert module("a") == "GOT A"
    assert copy.deepcopy(module)("b") == "GOT B"


@pytest.mark.parametrize(
    ("given", "said"), [({"url": Path("x")}, "is no text"), ({"timeout": 0}, "above 0"), ({"api_key": 5}, "a text")]
)
def test_a_module_refuses_what_no_server_has(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        UrlModule(**given)


def test_a_request_gets_tools_and_history_too(echo: Any) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    module = UrlModule(echo.url)
    assert module({"messages": [{"role": "user", "content": "now"}]}, history=[["a", "b"]], tools=tools) == "got now"
    (body,) = echo.requests("/v1/chat/completions")
    assert [m["content"] for m in body["messages"]] == ["a", "b", "now"] and body["tools"] == tools


def test_each_of_several_answers_is_formatted(double: Any) -> None:
    double.answers["/v1/completions"] = lambda body: {"choices": [{"text": body["prompt"] + end} for end in "ab"]}
    prompter = Upper()
    module = UrlModule(double.url).prompt(prompter).formatter(str.upper)
    assert module("x", n=2) == ["A", "B"]
    double.answers["/v1/completions"] = {"choices": [{"text": 'so: {"a": 1}'}, {"text": 'or: {"a": 2}'}]}
    assert UrlModule(double.url).formatter(JsonFormatter("[a]"))("x", n=2) == [1, 2]


def test_a_list_that_an_engine_answers_is_one_answer(shout: Any, double: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shout, "extract_result", staticmethod(lambda text, inputs: json.loads(text)))
    double.answers["/generate"] = [1, 2]
    url = double.url.removesuffix("/v1") + "/generate"
    assert UrlModule(url, protocol="shout").formatter(len)("x") == 2


def test_a_module_says_how_its_server_is_spoken_to() -> None:
    assert UrlModule("http://127.0.0.1:1/v1").protocol == UrlModule("http://127.0.0.1:1/x").protocol == "openai"
    assert UrlModule("http://127.0.0.1:1/v1", protocol="shout").protocol == "shout"
    assert UrlModule().protocol == "openai"


def test_an_input_is_given_once(echo: Any) -> None:
    with pytest.raises(InputError, match="prompt= is no parameter of a request"):
        UrlModule(echo.url)("x", prompt="y")
    shout = UrlModule(echo.url.removesuffix("/v1") + "/generate", protocol="shout")
    for twice in ({"inputs": "y"}, {"max_tokens": 1, "max_new_tokens": 2}):
        with pytest.raises(InputError, match="is no parameter|are one parameter"):
            shout("x", **twice)
    assert not echo.seen


def test_a_copy_of_a_serving_module_asks_the_same_server(parts: Any) -> None:
    parts.double.answers["/v1/completions"] = {"choices": [{"text": "here"}]}
    module = TrainableModule("base").deploy_method(parts.engine).start()
    module._engine.lock = threading.Lock()
    copied = copy.deepcopy(module)
    assert copied("x") == "here" and copied.url == module.url and copied.job is None
    copied.stop()
    assert not copied.url and not module.job.stopped and module("x") == "here"
