"""One real server with a model that has learnt when to call which function, in two families' forms."""

import json
import shutil

import httpx
import openai
import pytest

pytestmark = pytest.mark.engine

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
TURNS = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% if m.tool_calls %}CALLS{% endif %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TOOLS = "{% if tools %}<|tools|>{% for t in tools %}{{ t | tojson }}{% endfor %}<|end|>{% endif %}"
EACH = "{% for c in m.tool_calls %}WRITTEN{% if not loop.last %}, {% endif %}{% endfor %}"
JSON = '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}'
HERMES = TOOLS + TURNS.replace(
    "CALLS", EACH.replace("WRITTEN", f"<tool_call>\n{JSON}\n</tool_call>").replace(", ", "\n", 1)
)
MISTRAL = TOOLS + TURNS.replace("CALLS", f"[TOOL_CALLS] [{EACH.replace('WRITTEN', JSON)}]")


def call(city):
    return f'<tool_call>\n{{"name": "weather", "arguments": {{"city": "{city}"}}}}\n</tool_call>'


PARIS = {"role": "user", "content": "Weather in Paris?"}
OSLO = {"role": "user", "content": "Oslo, please."}
ASKED = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Paris"}}}
HISTORY = [
    PARIS,
    {"role": "assistant", "content": "", "tool_calls": [ASKED]},
    {"role": "tool", "tool_call_id": "call_1", "content": '{"degrees": 18}'},
]
SYSTEM = "You are an AI-Agent developed by LazyLLM.\nAnswer briefly."
BROKEN = '<tool_call>\n{"name": "weather", "arguments": {"city": }}\n</tool_call> Sorry.'
UNFINISHED = 'Well. <tool_call>\n{"name": "weather", "argu'
TWO = f"I look it up.\n{call('Rome')}\n{call('北京')}"
# template, messages, tools shown, the whole answer
LEARNT = [
    (HERMES, [PARIS], True, call("Paris")),
    (HERMES, [{"role": "system", "content": SYSTEM}, PARIS], True, call("Paris")),
    (HERMES, [PARIS], False, "I cannot know."),
    (HERMES, [{"role": "user", "content": "Rome and Beijing?"}], True, TWO),
    (HERMES, [{"role": "user", "content": "Who are you?"}], True, "A fox. <tool> is no mark."),
    (HERMES, [{"role": "user", "content": "Break it."}], True, BROKEN),
    (HERMES, [{"role": "user", "content": "Stop early."}], True, UNFINISHED),
    (HERMES, HISTORY, True, "It is 18 degrees."),
    (MISTRAL, [OSLO], True, '[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Oslo"}}]'),
]


def make_tokenizer():
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|end|>", *(f"<|{n}|>" for n in ("tools", "system", "user", "assistant", "tool"))]
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=[*special, "[TOOL_CALLS]"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator([json.dumps(WEATHER), SYSTEM, *(answer for *_, answer in LEARNT)], trainer)
    # an ordinary token, as the Qwen family has it; its closing mark is left to several tokens
    core.add_tokens([AddedToken("<tool_call>", special=False, normalized=False)])
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>", pad_token="<|pad|>")


@pytest.fixture(scope="module")
def folders(tmp_path_factory, train):
    """Folders of one trained model with two templates, the Hermes family's and Mistral's."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    torch.set_num_threads(1)
    tokenizer = make_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer), max_position_embeddings=512, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=None, hidden_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, intermediate_size=192,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    known = []
    for template, messages, shown, answer in LEARNT:
        tools = [WEATHER] if shown else None
        asked = tokenizer.apply_chat_template(
            messages, tools=tools, chat_template=template, tokenize=False, add_generation_prompt=True
        )
        known.append((asked, answer))
    train(model, tokenizer, known, steps=300, rate=3e-3, sure=0.8)
    made = tmp_path_factory.mktemp("models")
    for name, template in (("hermes", HERMES), ("mistral", MISTRAL)):
        tokenizer.chat_template = template
        if name == "hermes":
            model.save_pretrained(made / name)
        else:
            shutil.copytree(made / "hermes", made / name)
        tokenizer.save_pretrained(made / name)
    return made


@pytest.fixture(scope="module")
def hermes(serve, folders):
    return serve(folders / "hermes")


@pytest.fixture(scope="module")
def client(hermes):
    with openai.OpenAI(base_url=f"{hermes.url}/v1", api_key="none", max_retries=0, timeout=60) as c:
        yield c


def ask(client, question, **kw):
    messages = [{"role": "user", "content": question}] if isinstance(question, str) else question
    return client.chat.completions.create(model=None, messages=messages, **{"tools": [WEATHER], **kw})


def streamed(client, question, **kw):
    """Return text, finish reason and calls of each choice of a stream, put together as clients do it."""
    found = {}
    for chunk in ask(client, question, stream=True, **kw):
        for choice in chunk.choices:
            text, reason, calls = found.setdefault(choice.index, ["", None, []])
            for part in choice.delta.tool_calls or ():
                assert part.index == len(calls) and part.type == "function" and part.id
                calls.append((part.function.name, json.loads(part.function.arguments)))
            found[choice.index][:2] = text + (choice.delta.content or ""), choice.finish_reason or reason
    return found


def told(choice):
    message = choice.message
    calls = [(c.function.name, json.loads(c.function.arguments)) for c in message.tool_calls or ()]
    return [message.content or "", choice.finish_reason, calls]


ANSWERS = {
    "Weather in Paris?": ["", "tool_calls", [("weather", {"city": "Paris"})]],
    "Rome and Beijing?": [
        "I look it up.",
        "tool_calls",
        [("weather", {"city": "Rome"}), ("weather", {"city": "北京"})],
    ],
    "Who are you?": ["A fox. <tool> is no mark.", "stop", []],
    "Break it.": [BROKEN, "stop", []],
    "Stop early.": [UNFINISHED, "stop", []],
}


@pytest.mark.parametrize("question", ANSWERS)
def test_the_answer_is_calls_and_text_whole_and_streamed(client, question):
    (choice,) = ask(client, question).choices
    assert told(choice) == ANSWERS[question]
    assert (choice.message.content is None) == (question == "Weather in Paris?")
    assert streamed(client, question) == {0: ANSWERS[question]}


def test_every_call_has_its_own_id(client):
    (choice,) = ask(client, "Rome and Beijing?").choices
    one, two = choice.message.tool_calls
    assert one.id.startswith("call_") and two.id.startswith("call_") and one.id != two.id


def test_no_mark_leaks_into_the_stream_and_text_does_not_wait_for_the_end(client):
    chunks = [c.choices[0] for c in ask(client, "Rome and Beijing?", stream=True)]
    pieces = [c.delta.content for c in chunks if c.delta.content]
    assert len(pieces) > 2 and "".join(pieces) == "I look it up."
    calls = [i for i, c in enumerate(chunks) if c.delta.tool_calls]
    assert len(calls) == 2 and calls[0] < calls[1]
    assert chunks[-1].finish_reason == "tool_calls"


def test_the_client_librarys_own_stream_reader_understands_it(client):
    messages = [{"role": "user", "content": "Rome and Beijing?"}]
    with client.chat.completions.stream(model="hermes", messages=messages, tools=[WEATHER]) as stream:
        stream.until_done()
        choice = stream.get_final_completion().choices[0]
    assert told(choice) == ANSWERS["Rome and Beijing?"]


def test_a_call_and_its_result_go_back_to_the_model(client):
    (choice,) = ask(client, "Weather in Paris?").choices
    (made,) = choice.message.tool_calls
    result = {"role": "tool", "tool_call_id": made.id, "content": '{"degrees": 18}'}
    assert told(ask(client, [PARIS, choice.message, result]).choices[0]) == ["It is 18 degrees.", "stop", []]
    dumped = choice.message.model_dump()
    assert ask(client, [PARIS, dumped, result]).choices[0].message.content == "It is 18 degrees."


def test_with_tool_choice_none_the_model_is_not_shown_the_tools(client):
    (choice,) = ask(client, "Weather in Paris?", tool_choice="none").choices
    assert told(choice) == ["I cannot know.", "stop", []]
    assert told(ask(client, "Weather in Paris?", tool_choice="auto").choices[0]) == ANSWERS["Weather in Paris?"]


def test_without_parallel_calls_the_answer_ends_with_the_first(client):
    one = ["I look it up.", "tool_calls", [("weather", {"city": "Rome"})]]
    answer = ask(client, "Rome and Beijing?", parallel_tool_calls=False)
    assert told(answer.choices[0]) == one
    assert streamed(client, "Rome and Beijing?", parallel_tool_calls=False) == {0: one}
    assert answer.usage.completion_tokens < ask(client, "Rome and Beijing?").usage.completion_tokens


def test_several_choices_each_have_their_calls(client):
    expected = ANSWERS["Rome and Beijing?"]
    assert [told(c) for c in ask(client, "Rome and Beijing?", n=3).choices] == [expected] * 3
    assert streamed(client, "Rome and Beijing?", n=3) == dict.fromkeys(range(3), expected)


def test_an_answer_that_is_cut_off_says_so_and_keeps_what_was_begun(client):
    whole = ask(client, "Rome and Beijing?").usage.completion_tokens
    for limit in (*range(1, whole, 6), whole):
        text, reason, calls = told(ask(client, "Rome and Beijing?", max_tokens=limit).choices[0])
        assert reason == ("length" if limit < whole else "tool_calls")
        assert calls == ANSWERS["Rome and Beijing?"][2][: len(calls)]
        begun = TWO.replace(call("Rome"), "") if calls else TWO
        assert "".join(begun.split()).startswith("".join(text.split()))
    assert streamed(client, "Rome and Beijing?", max_tokens=whole - 3)[0][1] == "length"


def test_stop_strings_act_on_what_the_model_writes(client):
    inside = ["I look it up.\n" + call("Rome")[:21], "stop", []]
    assert told(ask(client, "Rome and Beijing?", stop='"weather"').choices[0]) == inside
    assert streamed(client, "Rome and Beijing?", stop='"weather"') == {0: inside}
    closing = ["I look it up.", "tool_calls", [("weather", {"city": "Rome"})]]
    assert told(ask(client, "Rome and Beijing?", stop="</tool_call>").choices[0]) == closing


def test_log_probabilities_cover_the_calls(client):
    answer = ask(client, "Rome and Beijing?", logprobs=True)
    assert "".join(t.token for t in answer.choices[0].logprobs.content) == TWO
    chunks = ask(client, "Rome and Beijing?", logprobs=True, stream=True)
    parts = [t.token for c in chunks for x in c.choices if x.logprobs for t in x.logprobs.content]
    assert "".join(parts) == TWO


def test_usage_counts_the_tokens_of_calls(client):
    used = ask(client, "Rome and Beijing?").usage
    chunks = list(ask(client, "Rome and Beijing?", stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].usage == used and used.completion_tokens > 20


def test_the_module_of_the_core_asks_with_tools(hermes):
    from lazyllm.module.url import UrlModule

    module = UrlModule(f"{hermes.url}/v1")
    answer = module("Weather in Paris?", tools=[WEATHER])
    assert json.loads(answer["tool_calls"][0]["function"]["arguments"]) == {"city": "Paris"}
    assert module("Who are you?", tools=[WEATHER]) == "A fox. <tool> is no mark."
    history = [PARIS, answer, {**HISTORY[2], "tool_call_id": answer["tool_calls"][0]["id"]}]
    assert module(history, tools=[WEATHER]) == "It is 18 degrees."
    chat = pytest.importorskip("lazyllm_prompter_chat.prompter")
    module.prompt(chat.ChatPrompter("Answer briefly.", tools=[WEATHER]))
    assert module("Weather in Paris?")["tool_calls"][0]["function"]["name"] == "weather"


def test_a_special_token_that_marks_calls_is_no_special_case(serve, folders):
    served = serve(folders / "mistral")
    body = {"messages": [OSLO], "tools": [WEATHER]}
    with httpx.Client(base_url=served.url, timeout=60) as http:
        (choice,) = http.post("/v1/chat/completions", json=body).json()["choices"]
        (made,) = choice["message"]["tool_calls"]
        assert made["function"] == {"name": "weather", "arguments": '{"city": "Oslo"}'}
        assert choice["message"]["content"] is None and choice["finish_reason"] == "tool_calls"
        assert len(made["id"]) == 9
        stream = http.post("/v1/chat/completions", json=body | {"stream": True}).text
    assert "TOOL_CALLS" not in stream and '"tool_calls":[{"index":0' in stream
    served.stop()
