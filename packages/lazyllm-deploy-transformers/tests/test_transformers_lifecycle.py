"""Servers that start, stop and die."""

import json
import shutil
import signal
import socket
import time
from contextlib import nullcontext

import httpx
import openai
import pytest

pytestmark = pytest.mark.engine

# the batching thread breaks at the twentieth step after the start
CRASH = """
import sys, time
from lazyllm_deploy_transformers import server
from lazyllm_deploy_transformers.batching import sampler
steps = 0
call = sampler.Sampler.prepare_tensor_args
def broken(self, *args, **kw):
    global steps
    steps += 1
    if steps > 20:
        raise RuntimeError("the device caught fire")
    return call(self, *args, **kw)
sampler.Sampler.prepare_tensor_args = broken
sys.exit(server.main(sys.argv[1:]))
"""
LONG = {"prompt": "x", "max_tokens": 400, "ignore_eos": True, "stream": True}


@pytest.fixture
def own(serve, model_dir, request):
    """A server for this test alone; `@pytest.mark.parametrize` may give its options."""
    return serve(model_dir, *getattr(request, "param", ()))


def test_sigterm_finishes_what_runs_and_refuses_what_comes(own):
    with httpx.stream("POST", f"{own.url}/v1/completions", json=LONG, timeout=60) as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("data: ")
        own.process.terminate()
        own.await_line("SIGTERM: stopping; requests under way: 1")
        assert httpx.get(f"{own.url}/health").status_code == 503
        refused = httpx.post(f"{own.url}/v1/completions", json=LONG)
        assert refused.status_code == 503 and "stopping" in refused.json()["error"]["message"]
        rest = [line for line in lines if line]
    assert rest[-1] == "data: [DONE]" and '"finish_reason":"length"' in rest[-2]
    assert own.process.wait(10) == 0
    assert "stopped; requests finished: 1, cut off: 0, left by their clients: 0" in own.text()


def test_sigterm_when_idle_ends_at_once(own):
    started = time.monotonic()
    assert own.stop() == 0 and time.monotonic() - started < 5


@pytest.mark.parametrize("own", [("--shutdown-timeout", "0.2")], indirect=True)
def test_what_outlasts_the_shutdown_timeout_ends_with_an_error(own):
    with httpx.stream("POST", f"{own.url}/v1/completions", json={**LONG, "n": 8}, timeout=60) as stream:
        lines = stream.iter_lines()
        next(lines)
        own.process.terminate()
        last = [line for line in lines if line][-1]
    assert "stopped before the answer was complete" in last
    assert own.process.wait(10) == 0
    assert "requests cut off after 0.2 s: 1" in own.text()
    assert "stopped; requests finished: 0, cut off: 1, left by their clients: 0" in own.text()


def test_a_second_sigterm_ends_at_once(own):
    with httpx.stream("POST", f"{own.url}/v1/completions", json={**LONG, "n": 8}, timeout=60) as stream:
        next(stream.iter_lines())
        own.process.terminate()
        own.await_line("SIGTERM: stopping")
        own.process.send_signal(signal.SIGTERM)
        assert own.process.wait(3) == 128 + signal.SIGTERM


def test_the_port_answers_503_while_the_model_loads(serve, model_dir):
    own = serve(model_dir, wait=False)
    own.await_line("starting")
    answer = httpx.get(f"{own.url}/health")
    assert (answer.status_code, answer.json()) == (503, {"status": "starting"})
    assert "being loaded" in httpx.post(f"{own.url}/v1/completions", json=LONG).json()["error"]["message"]
    own.await_line("ready after")
    assert httpx.get(f"{own.url}/health").json() == {"status": "ready"}


def test_the_engines_death_fails_what_runs_and_ends_the_process(serve, model_dir):
    own = serve(model_dir, code=CRASH)
    with httpx.stream("POST", f"{own.url}/v1/completions", json=LONG, timeout=60) as stream:
        last = [line for line in stream.iter_lines() if line][-1]
    assert '"error"' in last and "caught fire" in last
    assert own.process.wait(15) == 1
    assert "The engine died: the device caught fire" in own.text()


def test_the_api_key_guards_everything_but_health(serve, model_dir):
    own = serve(model_dir, env={"LAZYLLM_API_KEY": "s3cret"})
    assert httpx.get(f"{own.url}/health").status_code == 200
    for path in ("/v1/models", "/metrics", "/nowhere"):
        answer = httpx.get(own.url + path)
        assert answer.status_code == 401 and answer.json()["error"]["code"] == "invalid_api_key"
    for header in ("Bearer wrong", "s3cret", "Basic s3cret", "Bearer"):
        assert httpx.get(f"{own.url}/v1/models", headers={"Authorization": header}).status_code == 401
    for header in ("Bearer s3cret", "bearer s3cret"):
        assert httpx.get(f"{own.url}/v1/models", headers={"Authorization": header}).status_code == 200
    for key, outcome in (("wrong", pytest.raises(openai.AuthenticationError)), ("s3cret", nullcontext())):
        with outcome, openai.OpenAI(base_url=f"{own.url}/v1", api_key=key, max_retries=0) as client:
            assert client.models.list().data
    assert "s3cret" not in own.text()


def test_a_key_with_any_characters_and_none_that_guards_nothing(serve, model_dir):
    assert "white space only" in failing(serve, model_dir, env={"LAZYLLM_API_KEY": " "})
    own = serve(model_dir, env={"LAZYLLM_API_KEY": "schlüssel\n"})
    for key, status in (("schlüssel", 200), ("schlussel", 401)):
        headers = {"Authorization": f"Bearer {key}".encode()}
        assert httpx.get(f"{own.url}/v1/models", headers=headers).status_code == status


def test_requests_that_never_arrive_do_not_hold_up_the_end(own):
    host, port = own.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as s:
        s.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n{"
        )
        time.sleep(0.2)
        assert own.stop() == 0 and b"503" in s.recv(100)
    assert "Traceback" not in own.text()


def test_a_killed_server_leaves_its_port_free(own):
    host, port = own.url.removeprefix("http://").split(":")
    own.process.kill()
    own.process.wait()
    socket.create_server((host, int(port))).close()


def test_a_broken_template_is_told_in_words(serve, model_dir, tmp_path):
    broken = shutil.copytree(model_dir, tmp_path / "bro\nken")
    (broken / "chat_template.jinja").write_text("{% for %}")
    own = serve(broken)
    answer = httpx.post(f"{own.url}/v1/chat/completions", json={"messages": [{"role": "user", "content": "x"}]})
    assert answer.status_code == 400 and "Expected an expression" in answer.json()["error"]["message"]
    assert len(own.text().splitlines()) == 3 and "starting bro\\nken (llama)" in own.text()


def test_a_model_without_a_chat_template_says_what_to_do(serve, model_dir, tmp_path):
    plain = shutil.copytree(model_dir, tmp_path / "plain")
    (plain / "chat_template.jinja").unlink()
    own = serve(plain, "--model-name", "bare")
    answer = httpx.post(f"{own.url}/v1/chat/completions", json={"messages": [{"role": "user", "content": "x"}]})
    assert answer.status_code == 400 and "/v1/completions" in answer.json()["error"]["message"]
    done = httpx.post(f"{own.url}/v1/completions", json={"model": "bare", "prompt": "x", "max_tokens": 1})
    assert done.json()["model"] == "bare"


def failing(serve, *args, **kw):
    own = serve(*args, wait=False, **kw)
    assert own.process.wait(60) == 2
    assert "Traceback" not in own.text()
    return own.text()


def test_folders_that_cannot_be_served_end_with_code_2_and_a_line(serve, model_dir, tmp_path):
    assert "does not exist" in failing(serve, tmp_path / "none")
    broken = shutil.copytree(model_dir, tmp_path / "broken")
    (broken / "tokenizer.json").write_text('{"model": {}}')
    assert "cannot be loaded" in failing(serve, broken)
    (broken / "model.safetensors").unlink()
    assert "has no weights" in failing(serve, broken)


def test_code_that_the_library_does_not_need_is_neither_run_nor_missed(serve, model_dir, tmp_path):
    brings = shutil.copytree(model_dir, tmp_path / "brings")

    def change(file, **fields):
        (brings / file).write_text(json.dumps(json.loads((brings / file).read_text()) | fields))

    change("config.json", auto_map={"AutoConfig": "none.Config", "AutoModelForCausalLM": "none.Model"})
    change("tokenizer_config.json", auto_map={"AutoTokenizer": ["none.Slow", "none.Fast"]})
    assert httpx.get(f"{serve(brings).url}/health").status_code == 200
    change("tokenizer_config.json", tokenizer_class="TokenizerOfItsOwn")
    said = failing(serve, brings)
    assert "The tokenizer of " in said and "not run unasked" in said and "--trust-remote-code" in said


def test_weights_that_do_not_fill_the_model_are_refused_not_replaced_by_noise(serve, model_dir, tmp_path):
    from safetensors.torch import load_file, save_file

    broken = shutil.copytree(model_dir, tmp_path / "broken")
    weights, name = load_file(broken / "model.safetensors"), "model.layers.1.mlp.up_proj.weight"
    save_file({**weights, name: weights[name] * float("nan")}, broken / "model.safetensors")
    assert "computes nan" in failing(serve, broken)
    save_file({k: v for k, v in weights.items() if k != name}, broken / "model.safetensors")
    assert f"lacks weights that config.json asks for: {name}." in failing(serve, broken)
    save_file({**weights, name: weights[name][:9]}, broken / "model.safetensors")
    assert f"has other sizes for weights that config.json asks for: {name}." in failing(serve, broken)


def test_generation_settings_that_make_no_sense_are_told(serve, model_dir, tmp_path):
    broken = shutil.copytree(model_dir, tmp_path / "broken")
    (broken / "generation_config.json").write_text('{"do_sample": true, "temperature": "hot"}')
    assert "generation_config.json" in failing(serve, broken)
    (broken / "generation_config.json").write_text("{")
    assert "cannot be read as JSON" in failing(serve, broken)


def test_too_long_a_context_and_too_little_memory_are_told_with_numbers(serve, model_dir):
    assert "more than the 512 tokens" in failing(serve, model_dir, "--max-model-len", "9999")
    assert "does not hold one sequence" in failing(
        serve, model_dir, "--kv-cache-memory", "100K", "--max-model-len", "512"
    )


def test_a_taken_port_is_told_before_the_model_is_loaded(serve, model_dir):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        started = time.monotonic()
        assert "cannot be bound" in failing(serve, model_dir, "--port", str(taken.getsockname()[1]))
        assert time.monotonic() - started < 10


def test_when_memory_is_short_sequences_are_recomputed_and_none_is_lost(serve, model_dir):
    own = serve(model_dir, "--kv-cache-memory", "2400K", "--max-model-len", "256", "--max-num-seqs", "8")
    answer = httpx.post(
        f"{own.url}/v1/completions",
        json={"prompt": "Count to", "n": 8, "max_tokens": 240, "ignore_eos": True, "logprobs": 0},
        timeout=120,
    ).json()
    assert {len(c["logprobs"]["tokens"]) for c in answer["choices"]} == {240}
    assert len({c["text"] for c in answer["choices"]}) == 1
