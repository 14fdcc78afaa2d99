import json
import os
import sys

import pytest

from lazyllm.errors import InputError, ModelError, ServiceError
from lazyllm.jobs.command import Ref
from lazyllm_deploy_transformers.engine import TransformersDeploy


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LAZYLLM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LAZYLLM_API_KEY", raising=False)


def test_the_command_serves_the_folder_with_typed_port_and_host(folder):
    command = TransformersDeploy(max_model_len=256, trust_remote_code=False).cmd(str(folder))
    assert command.host is None
    argv = command.steps[0].argv
    assert argv[:5] == (sys.executable, "-m", "lazyllm_deploy_transformers.server", "--model", str(folder))
    assert argv[argv.index("--port") + 1] == Ref("port", "port") and argv[argv.index("--host") + 1] == Ref("host")
    assert "--max-model-len=256" in argv and "--trust-remote-code" not in argv
    service = command.service
    assert (service.port, service.path, service.protocol, service.health) == ("port", "/v1", "openai", "/health")
    assert command.ports == {"port": None} and not command.secrets
    assert not command.env  # threads are counted where the server runs


@pytest.mark.parametrize("level", ["debug", "error", None])
def test_the_log_level_is_passed_on(folder, level):
    argv = TransformersDeploy(**({"log_level": level} if level else {})).cmd(str(folder)).steps[0].argv
    assert [a for a in argv if str(a).startswith("--log-level")] == [f"--log-level={level or 'info'}"]


def test_a_stop_leaves_the_server_its_shutdown_timeout_and_time_to_end(folder):
    assert TransformersDeploy().cmd(str(folder)).grace == 40.0
    assert TransformersDeploy(shutdown_timeout=0).cmd(str(folder)).grace == 10.0


def test_every_option_is_known_to_the_server(folder):
    from lazyllm_deploy_transformers.arguments import parse

    engine = TransformersDeploy(
        True, port=8123, host="127.0.0.1", model_name="m", dtype="float32", device="cpu", max_num_seqs=3,
        max_model_len=99, max_batch_tokens=64, kv_cache_memory="1GiB", threads=2, shutdown_timeout=1,
        log_level="warning",
    )  # fmt: skip
    command = engine.cmd(str(folder))
    assert command.ports == {"port": 8123} and command.host == "127.0.0.1"
    known = {"port": "8123", "host": "127.0.0.1"}
    s = parse([known[a.kind] if isinstance(a, Ref) else a for a in command.steps[0].argv[3:]])
    assert (s.port, s.model_name, s.dtype, s.device, s.max_num_seqs) == (8123, "m", "float32", "cpu", 3)
    assert (s.max_model_len, s.max_batch_tokens, s.kv_cache_memory, s.threads) == (99, 64, 2**30, 2)
    assert s.shutdown_timeout == 1.0 and s.log_level == "warning" and s.trust_remote_code and s.model == str(folder)


def test_the_api_key_travels_as_a_secret(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("LAZYLLM_API_KEY", "s3cret")
    engine = TransformersDeploy(launcher=pytest.importorskip("lazyllm_launch_local.launcher").EmptyLauncher())
    engine.log_path = tmp_path / "logs"
    command = engine.makejob(str(folder)).command
    assert command.secrets == {"LAZYLLM_API_KEY": "s3cret"}
    assert command.log.startswith(str(tmp_path / "logs" / "transformersdeploy"))
    assert "s3cret" not in command.show() + json.dumps(command.to_json()) + repr(command)


@pytest.mark.parametrize("name", ["-x", "--port", "a b", "=", "模型"])
def test_any_text_is_a_models_name(folder, name):
    from lazyllm_deploy_transformers.arguments import parse

    argv = TransformersDeploy(model_name=name).cmd(str(folder)).steps[0].argv[3:]
    assert parse(["8123" if isinstance(a, Ref) else a for a in argv]).model_name == name


@pytest.mark.parametrize("name", ["a b", "quo'te\"s", "new\nline", "模型", "-dash"])
def test_any_folder_name_is_passed_on_as_it_is(folder, name):
    other = folder.rename(folder.parent / name)
    assert TransformersDeploy().cmd(str(other)).steps[0].argv[4] == str(other)


@pytest.mark.parametrize(
    "kw",
    [
        {"dtype": "int8"}, {"device": "tpu"}, {"max_num_seqs": 0}, {"threads": "two"}, {"kv_cache_memory": "much"},
        {"shutdown_timeout": -1}, {"port": 99999999}, {"model_name": ""}, {"model_name": 5}, {"model_name": "a\0b"},
        {"model_name": "\ud800"}, {"host": " "}, {"host": 1}, {"host": "nope host"}, {"host": "a/b"}, {"host": "a\n"},
        {"host": "http://a"}, {"host": "-a"}, {"host": "[::1]"}, {"host": "256.0.0.1"}, {"host": "::1%a b"},
        {"host": "x" * 64}, {"host": "a..b"}, {"host": "a:80"}, {"device": "cuda:\u0663"}, {"kv_cache_memory": 0},
        {"kv_cache_memory": "9" * 400}, {"threads": 10**6}, {"max_num_seqs": 10**9}, {"model_name": "x" * 1001},
        {"start_timeout": 0}, {"max_model_len": 4096}, {"log_level": "loud"}, {"log_level": ["info"]},
    ],
)  # fmt: skip
def test_values_that_cannot_be_used_are_refused_before_anything_starts(folder, kw):
    with pytest.raises(InputError):
        TransformersDeploy(**kw).cmd(str(folder))


@pytest.mark.parametrize("host", ["10.0.0.7", "::1", "fe80::1%eth0", "node-3.cluster.", "my_box", "máquina", "0.0.0.0"])
def test_whatever_a_host_can_be_called_is_taken(folder, host):
    assert TransformersDeploy(host=host).cmd(str(folder)).host == host


def test_the_job_of_a_merged_model_is_called_after_its_training(folder):
    merged = folder.parent / "mine" / "lazyllm_merge"
    merged.parent.mkdir()
    folder.rename(merged)
    assert TransformersDeploy().cmd(str(merged.parent)).title == "serve mine"


def test_a_length_beyond_the_models_is_told_by_the_keywords_name(folder):
    with pytest.raises(InputError, match=r"max_model_len=1000000000 \(--max-model-len\) is more than the 2048 tokens"):
        TransformersDeploy(max_model_len=10**9).cmd(str(folder))


def test_a_model_that_cannot_be_batched_is_refused_in_the_callers_process(folder):
    (folder / "config.json").write_text('{"model_type": "rwkv"}')
    with pytest.raises(ModelError, match="'rwkv'"):
        TransformersDeploy().cmd(str(folder))


def test_what_callers_read_from_the_class():
    assert TransformersDeploy.message_format is None and TransformersDeploy.keys_name_handle["inputs"] == "prompt"
    assert json.loads(json.dumps(dict(TransformersDeploy.default_headers)))
    assert TransformersDeploy.stream_parse_parameters() == {"delimiter": b"\n\n"}
    assert TransformersDeploy.stream_url_suffix() == ""


@pytest.mark.parametrize(
    "text, expected",
    [
        ('{"choices": [{"text": "a"}]}', "a"),
        ('{"choices": [{"message": {"content": "b"}}]}', "b"),
        ('data: {"choices": [{"delta": {"content": "c"}}]}', "c"),
        (b'data: {"choices": [{"text": "d"}]}', "d"),
        ("data: [DONE]", ""),
        ('data: {"choices": [], "usage": {}}', ""),
    ],
)
def test_answers_and_events_are_read(text, expected):
    assert TransformersDeploy.extract_result(text, None) == expected


@pytest.mark.parametrize("text", ["<html>", "[]", '{"error": {"message": "full"}}'])
def test_what_is_no_answer_is_an_error(text):
    with pytest.raises(ServiceError):
        TransformersDeploy.extract_result(text, None)


def test_the_plugin_tells_its_engine():
    from lazyllm_deploy_transformers.hooks import lazyllm_engines

    (engine,) = lazyllm_engines()
    assert engine.name == "transformers" and engine.version and os.sep not in engine.remedy
