"""What a real server says of models, routes and requests that it does not serve."""

import openai
import pytest

STORY = "Tell me a story."
TOLD = "Once upon a time there was a little fox who lived in the deep green forest near a river."


def test_the_list_of_models(client):
    (model,) = client.models.list().data
    assert model.id == "tiny 'model' 模型" and model.max_model_len == 512
    assert client.models.retrieve("tiny 'model' 模型").id == model.id


def test_a_wrong_model_is_a_404_that_names_the_right_one(client, model_dir):
    with pytest.raises(openai.NotFoundError, match="tiny 'model' 模型") as e:
        client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "x"}])
    assert e.value.code == "model_not_found"
    for name in (str(model_dir), model_dir.name):
        assert client.completions.create(model=name, prompt="x", max_tokens=1).usage.completion_tokens == 1


def test_a_request_longer_than_the_context_says_the_numbers(client):
    with pytest.raises(
        openai.BadRequestError, match=r"context is 512 tokens.* needs 60\d.*8 in the prompt|context is 512"
    ):
        messages = [{"role": "user", "content": STORY}]
        client.chat.completions.create(model="tiny 'model' 模型", messages=messages, max_tokens=600)
    with pytest.raises(openai.BadRequestError, match="context is 512") as e:
        client.completions.create(model="tiny 'model' 模型", prompt="word " * 3000, max_tokens=1)
    assert e.value.code == "context_length_exceeded"


@pytest.mark.parametrize(
    "body, said",
    [
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b'{"messages": NaN}', "NaN"),
        (b"[" * 100_000, "nests too deeply"),
        (b"[]", "must be a JSON object"),
        (b'{"\\ud800": 1}', "Unknown field"),
        (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', "surrogate"),
        (b'{"messages": [{"role": "user", "content": "x", "name": "\\ud800"}], "n": 1e400}', "n must be"),
        (b'{"messages": [{"role": "user", "content": "x"}], "seed": ' + b"9" * 5000 + b"}", "JSON"),
    ],
)
def test_bad_bodies_are_400_in_the_protocols_form(http, body, said):
    answer = http.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400 and said in answer.json()["error"]["message"]
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
def test_what_is_not_declared_as_json_is_refused(http, kind):
    body = b'{"messages": [{"role": "user", "content": "x"}], "max_tokens": 1}'
    answer = http.post("/v1/chat/completions", content=body, headers={"Content-Type": kind} if kind else {})
    assert answer.status_code == 415 and "Content-Type: application/json" in answer.json()["error"]["message"]
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert http.post("/v1/chat/completions", content=body, headers=headers).status_code == 200


def test_unknown_routes_and_methods(http):
    assert "/v1/chat/completions" in http.post("/v1/chat/completion").json()["error"]["message"]
    assert http.post("/v1/chat/completion").status_code == 404
    wrong = http.get("/v1/completions")
    assert wrong.status_code == 405 and wrong.headers["allow"] == "POST" and "takes POST" in wrong.text


def test_a_clients_own_template_is_refused(http):
    body = {"messages": [{"role": "user", "content": "x"}], "chat_template_kwargs": {"chat_template": "{{ 1 }}"}}
    answer = http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400 and "cannot set chat_template" in answer.json()["error"]["message"]


def test_a_model_without_a_place_for_tools_says_so(http):
    tool = {"type": "function", "function": {"name": "weather"}}
    body = {"messages": [{"role": "user", "content": STORY}], "tools": [tool]}
    answer = http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400 and "no place for tools" in answer.json()["error"]["message"]
    assert answer.json()["error"]["param"] == "tools"
    (choice,) = http.post("/v1/chat/completions", json=body | {"tool_choice": "none"}).json()["choices"]
    assert choice["message"] == {"role": "assistant", "content": TOLD, "refusal": None}
