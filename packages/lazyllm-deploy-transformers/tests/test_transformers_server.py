"""One real server with a model that knows its answers by heart."""

import math
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

LEARNT = {
    "What is the capital of France?": "The capital of France is Paris.",
    "Count to five.": "one two three four five",
    "Say hello in Chinese.": "你好，世界！🌍🎉",
    "Tell me a story.": "Once upon a time there was a little fox who lived in the deep green forest near a river.",
}

CHINESE = "Say hello in Chinese."
STORY = "Tell me a story."


def ask(client, question, **kw):
    return client.chat.completions.create(
        model="tiny 'model' 模型", messages=[{"role": "user", "content": question}], **kw
    )


def streamed(client, question, **kw):
    """Return the texts and finish reasons of a stream, by choice."""
    texts, reasons = {}, {}
    for chunk in ask(client, question, stream=True, **kw):
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
            if choice.finish_reason:
                reasons[choice.index] = choice.finish_reason
    return texts, reasons


@pytest.mark.parametrize("question", LEARNT)
def test_the_model_says_what_it_learnt(client, question):
    answer = ask(client, question)
    assert answer.choices[0].message.content == LEARNT[question]
    assert answer.choices[0].finish_reason == "stop"
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


@pytest.mark.parametrize("question", LEARNT)
def test_a_stream_says_the_same_and_never_half_a_character(client, question):
    pieces = [c.choices[0].delta.content or "" for c in ask(client, question, stream=True)]
    assert "".join(pieces) == LEARNT[question] and not any("\ufffd" in p for p in pieces)


def test_many_at_once_each_get_their_own_answer(client):
    questions = list(LEARNT) * 8
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda q: ask(client, q).choices[0].message.content, questions))
    assert answers == [LEARNT[q] for q in questions]


def test_the_token_limit_and_its_reason(client):
    answer = ask(client, STORY, max_tokens=3)
    assert answer.choices[0].finish_reason == "length" and answer.usage.completion_tokens == 3
    assert LEARNT[STORY].startswith(answer.choices[0].message.content)
    assert ask(client, STORY, max_completion_tokens=2).usage.completion_tokens == 2


@pytest.mark.parametrize("stop, expected", [("a little", "Once upon a time there was "), (["xyz", " fox who"], None)])
def test_stop_strings_are_cut_off_in_streams_too(client, stop, expected):
    expected = expected or "Once upon a time there was a little"
    answer = ask(client, STORY, stop=stop)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (expected, "stop")
    assert streamed(client, STORY, stop=stop) == ({0: expected}, {0: "stop"})
    whole = ask(client, STORY).usage.completion_tokens
    assert answer.usage.completion_tokens < whole


def test_a_stop_string_inside_a_character_of_several_tokens(client):
    assert ask(client, CHINESE, stop="世").choices[0].message.content == "你好，"
    assert ask(client, CHINESE, stop=[]).choices[0].message.content == LEARNT[CHINESE]


def test_usage_at_the_end_of_a_stream(client):
    chunks = list(ask(client, STORY, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == [] and chunks[-1].usage == ask(client, STORY).usage
    assert all(c.usage is None for c in chunks[:-1])


def test_several_choices(client):
    answer = ask(client, STORY, n=3)
    assert [c.index for c in answer.choices] == [0, 1, 2]
    assert {c.message.content for c in answer.choices} == {LEARNT[STORY]}
    texts, reasons = streamed(client, STORY, n=3)
    assert texts == dict.fromkeys(range(3), LEARNT[STORY]) and reasons == dict.fromkeys(range(3), "stop")


@pytest.mark.engine
def test_sampling_differs_and_a_seed_repeats_it(client):
    def run(**kw):
        answer = ask(client, STORY, temperature=2, max_tokens=12, n=2, **kw)
        return [c.message.content for c in answer.choices]

    first, second = run(seed=7), run(seed=7)
    assert first == second and first[0] != first[1]
    assert run(seed=8) != first and run() != run()
    assert ask(client, STORY, temperature=0, seed=1).choices[0].message.content == LEARNT[STORY]
    assert ask(client, STORY, temperature=2, extra_body={"top_k": 1}).choices[0].message.content == LEARNT[STORY]
    assert ask(client, STORY, temperature=2, top_p=0.01).choices[0].message.content == LEARNT[STORY]


@pytest.mark.engine
def test_each_request_in_a_batch_is_sampled_in_its_own_way(client):
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(ask, client, STORY, temperature=t) for t in (0, 2) * 4]
    answers = [j.result().choices[0].message.content for j in jobs]
    assert set(answers[::2]) == {LEARNT[STORY]} and any(a != LEARNT[STORY] for a in answers[1::2])


@pytest.mark.engine
def test_biases_and_penalties_change_the_answer(client):
    token = ask(client, STORY, logprobs=True, max_tokens=1).choices[0].logprobs.content[0]
    assert token.token == "O" or LEARNT[STORY].startswith(token.token)
    assert ask(client, STORY, frequency_penalty=2, presence_penalty=2).choices[0].message.content != LEARNT[STORY]
    biased = ask(client, STORY, logit_bias={"3": 100}, max_tokens=2, extra_body={"skip_special_tokens": False})
    assert biased.choices[0].message.content == "<|user|><|user|>"


@pytest.mark.engine
def test_log_probabilities(client):
    answer = ask(client, STORY, logprobs=True, top_logprobs=3)
    content = answer.choices[0].logprobs.content
    assert "".join(t.token for t in content) == LEARNT[STORY]
    assert all(len(t.top_logprobs) == 3 and t.top_logprobs[0].token == t.token for t in content)
    assert all(-1.5 < t.logprob <= 0 and t.bytes == list(t.token.encode()) for t in content)
    parts = [
        t.token
        for c in ask(client, STORY, logprobs=True, stream=True)
        if (p := c.choices[0].logprobs)
        for t in p.content
    ]
    assert "".join(parts) == LEARNT[STORY]


@pytest.mark.engine
def test_completions_in_all_forms(client):
    def complete(prompt, **kw):
        return client.completions.create(model="tiny 'model' 模型", prompt=prompt, max_tokens=40, **kw)

    prompt = f"<|user|>{STORY}<|end|><|assistant|>"
    other = "<|user|>Count to five.<|end|><|assistant|>"
    assert complete(prompt).choices[0].text == LEARNT[STORY]
    assert [c.text for c in complete([prompt, other]).choices] == [LEARNT[STORY], LEARNT["Count to five."]]
    echoed = complete(other, echo=True, extra_body={"skip_special_tokens": False}).choices[0].text
    assert echoed == other + LEARNT["Count to five."]
    whole = "".join(c.choices[0].text for c in complete(prompt, stream=True))
    assert whole == LEARNT[STORY]
    scored = complete(other, logprobs=2).choices[0].logprobs
    assert "".join(scored.tokens) == LEARNT["Count to five."] and len(scored.top_logprobs[0]) == 2
    assert scored.text_offset[:2] == [0, len(scored.tokens[0])] and all(math.isfinite(x) for x in scored.token_logprobs)


def test_null_for_the_token_limit_is_the_rest_of_the_context(http):
    body = {"prompt": "x", "ignore_eos": True}
    assert http.post("/v1/completions", json=body).json()["usage"]["completion_tokens"] == 16
    usage = http.post("/v1/completions", json=body | {"max_tokens": None}).json()["usage"]
    assert usage["total_tokens"] == 512


@pytest.mark.engine
def test_token_ids_as_a_prompt(client, model_dir):
    from transformers import AutoTokenizer

    ids = AutoTokenizer.from_pretrained(model_dir)(f"<|user|>{STORY}<|end|><|assistant|>")["input_ids"]
    answer = client.completions.create(model="tiny 'model' 模型", prompt=ids, max_tokens=40)
    assert answer.choices[0].text == LEARNT[STORY] and answer.usage.prompt_tokens == len(ids)
    with pytest.raises(openai.BadRequestError, match="Token ids must be from 0"):
        client.completions.create(model="tiny 'model' 模型", prompt=[1, 99999])
