import json
import subprocess
import sys
from importlib import metadata

import pytest

from lazyllm.errors import InputError, ModelError
from lazyllm_deploy_transformers.architectures import NOT_BATCHED, refusal
from lazyllm_deploy_transformers.batching.sizing import PAGE, Shape, plan
from lazyllm_deploy_transformers.checks import check_folder
from lazyllm_deploy_transformers.protocol.errors import ApiError
from lazyllm_deploy_transformers.state import State

SHAPE = Shape(layers=12, kv_heads=12, head_dim=64, itemsize=4, masks=1, context=2048)
PER_TOKEN = 2 * 12 * 12 * 64 * 4 + 512 * 4 + 8


def test_a_whole_folder_passes(folder):
    info = check_folder(str(folder))
    assert (info.name, info.model_type) == ("model", "llama")


def test_no_heavy_import_is_needed(folder):
    code = (
        "import sys; from lazyllm_deploy_transformers.engine import TransformersDeploy;"
        "from lazyllm_deploy_transformers.checks import check_folder; check_folder(sys.argv[1]);"
        "assert not {'torch', 'transformers', 'uvicorn', 'starlette', 'numpy'} & sys.modules.keys(), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)


BREAKS = {
    "no config.json": lambda f: (f / "config.json").unlink(),
    "cannot be read as JSON": lambda f: (f / "config.json").write_text("{"),
    "holds no JSON object": lambda f: (f / "config.json").write_text("[]"),
    "names no model_type": lambda f: (f / "config.json").write_text("{}"),
    "has no weights": lambda f: (f / "model.safetensors").unlink(),
    "missing or empty": lambda f: (f / "model.safetensors").write_bytes(b""),
    "no safetensors file": lambda f: (f / "model.safetensors").write_bytes(b"garbage" * 9),
    "cut off": lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-4]),
    "has no tokenizer": lambda f: (f / "tokenizer.json").unlink(),
    "has no 'model'": lambda f: (f / "tokenizer.json").write_text("{}"),
    "tokenizer.json cannot be read": lambda f: (f / "tokenizer.json").write_text("no"),
}


@pytest.mark.parametrize("said", BREAKS)
def test_a_broken_folder_says_what_is_broken(folder, said):
    BREAKS[said](folder)
    with pytest.raises(ModelError, match=said):
        check_folder(str(folder))


def test_a_missing_shard_is_named(folder):
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"w": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="model-00001-of-00002.safetensors' is missing"):
        check_folder(str(folder))


def test_no_folder_and_a_file_are_told_apart(tmp_path):
    with pytest.raises(ModelError, match="does not exist"):
        check_folder(str(tmp_path / "none"))
    (tmp_path / "f").touch()
    with pytest.raises(ModelError, match="is a file"):
        check_folder(str(tmp_path / "f"))


@pytest.mark.parametrize(
    "config, said",
    [
        ({"model_type": "mamba"}, "'mamba'"),
        ({"model_type": "t5", "is_encoder_decoder": True}, "encoder-decoder"),
        ({"model_type": "x", "layer_types": ["full_attention", "linear_attention"]}, "linear_attention"),
        ({"model_type": "x", "text_config": {"layer_types": ["chunked_attention"]}}, "chunked_attention"),
        ({"model_type": "llava", "vision_config": {"a": 1}}, "more than text"),
        ({"model_type": "gemma2", "attn_logit_softcapping": 50.0}, "attn_logit_softcapping"),
        ({"model_type": "deepseek_v3", "kv_lora_rank": 512}, "kv_lora_rank"),
        ({"model_type": "foo"}, "model_type 'foo'.* no causal language model"),
        ({"model_type": "t5"}, "model_type 't5'.* no causal language model"),
        ({"model_type": "clip"}, "model_type 'clip'.* no causal language model"),
        ({"model_type": "chatglm", "auto_map": {"AutoModel": "m.M"}}, "model_type 'chatglm'.* no causal"),
        ({"model_type": "llama", "architectures": ["LlamaForSequenceClassification"]}, "classifies texts"),
        ({"model_type": "llama", "architectures": ["LlamaForTokenClassification"]}, "labels words"),
        ({"model_type": "llama", "architectures": ["LlamaForQuestionAnswering"]}, "marks answers"),
        ({"model_type": "modernbert-decoder", "architectures": ["ModernBertForMaskedLM"]}, "fills gaps"),
    ],
)
def test_models_that_cannot_be_batched_are_refused_from_their_config(folder, config, said):
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=said) as e:
        check_folder(str(folder))
    assert "deploy" in e.value.hint


@pytest.mark.parametrize(
    "names, hint",
    [
        (["transformers"], "no other engine (deploy.…) is installed"),
        (["transformers", "mine", "auto"], "serve it with another installed engine: deploy.auto, deploy.mine"),
    ],
)
def test_what_is_refused_names_the_installed_alternatives(folder, monkeypatch, names, hint):
    found = [metadata.EntryPoint(name, "nothing:here", "lazyllm.deploy") for name in names]
    monkeypatch.setattr(metadata, "entry_points", lambda group: found)
    (folder / "config.json").write_text('{"model_type": "mamba"}')
    with pytest.raises(ModelError) as e:
        check_folder(str(folder))
    assert e.value.hint == hint


def test_a_quantised_model_names_the_package_that_it_lacks(folder, monkeypatch):
    from lazyllm_deploy_transformers import checks

    config = {"model_type": "llama", "quantization_config": {"quant_method": "compressed-tensors"}}
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="needs compressed_tensors") as e:
        check_folder(str(folder))
    assert e.value.hint == "pip install compressed-tensors"
    monkeypatch.setattr(checks, "find_spec", lambda name: name)
    assert check_folder(str(folder)).model_type == "llama"


@pytest.mark.parametrize("place", [{}, {"text_config": 1}])
def test_a_context_longer_than_the_models_is_refused_from_its_config(folder, place):
    shape = {"max_position_embeddings": 2048}
    config = {"model_type": "llama"} | ({"text_config": shape} if place else shape)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="more than the 2048 tokens of the model's context"):
        check_folder(str(folder), max_model_len=1000000)
    assert check_folder(str(folder), max_model_len=2048).name == "model"


@pytest.mark.parametrize("values", [{"temperature": "hot"}, {"top_k": [1]}, {"top_k": 1e400}])
def test_defaults_of_generation_that_cannot_be_used_are_refused(folder, values):
    (folder / "generation_config.json").write_text(json.dumps({"do_sample": True, **values}))
    with pytest.raises(ModelError, match="generation_config.json' cannot be used"):
        check_folder(str(folder))


def test_a_merged_model_is_called_after_its_training(folder):
    merged = folder.parent / "mine" / "lazyllm_merge"
    merged.parent.mkdir()
    folder.rename(merged)
    assert check_folder(str(merged)).name == "mine"
    state = State(str(merged), "mine")
    for name in (None, "mine", "lazyllm_merge", str(merged)):
        state.check_model(name)
    with pytest.raises(ApiError, match="this server serves 'mine'"):
        state.check_model("other")


@pytest.mark.parametrize("layers", [None, ["full_attention", "sliding_attention"]])
def test_models_that_can_be_batched_pass(layers):
    assert refusal({"model_type": "qwen3", "layer_types": layers}) is None


def test_code_of_the_model_is_not_run_unasked(folder):
    config = {"model_type": "mine", "auto_map": {"AutoModelForCausalLM": "m.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="not run unasked") as e:
        check_folder(str(folder))
    assert "--trust-remote-code" in e.value.hint
    assert check_folder(str(folder), trust_remote_code=True).model_type == "mine"


@pytest.mark.parametrize("part", ["AutoModelForCausalLM", "AutoConfig", "AutoTokenizer"])
def test_code_that_the_library_does_not_need_is_no_cause_to_refuse(folder, part):
    (folder / "config.json").write_text(json.dumps({"model_type": "phi3", "auto_map": {part: "m.M"}}))
    assert check_folder(str(folder)).model_type == "phi3"


def test_a_tokenizers_settings_alone_are_no_tokenizer(folder):
    (folder / "tokenizer.json").rename(folder / "tekken.json")
    (folder / "tokenizer_config.json").write_text("{}")
    assert check_folder(str(folder)).model_type == "llama"
    (folder / "tekken.json").unlink()
    with pytest.raises(ModelError, match="has no tokenizer"):
        check_folder(str(folder))


def test_the_cache_has_room_for_every_sequence_where_memory_allows():
    s = plan(SHAPE, max_num_seqs=4, max_model_len=1024, max_batch_tokens=None, limit=None, free=64 * 2**30)
    assert s.tokens >= 4 * 1024 and s.max_model_len == 1024 and s.bytes == s.tokens * PER_TOKEN


def test_the_cache_keeps_to_its_limit():
    s = plan(SHAPE, max_num_seqs=64, max_model_len=None, max_batch_tokens=None, limit=2**30, free=0)
    assert s.bytes <= 2**30 < s.bytes + 2 * PAGE * PER_TOKEN and s.max_model_len == 2048
    s = plan(SHAPE, max_num_seqs=64, max_model_len=None, max_batch_tokens=None, limit=None, free=8 * 2**30)
    assert s.bytes <= 2 * 2**30


def test_the_context_shrinks_to_what_fits_unless_it_was_asked_for():
    limit = 8 * PAGE * PER_TOKEN
    s = plan(SHAPE, max_num_seqs=2, max_model_len=None, max_batch_tokens=None, limit=limit, free=0)
    assert s.max_model_len == 7 * PAGE and s.blocks == 8
    with pytest.raises(InputError, match="does not hold one sequence of 2000 tokens"):
        plan(SHAPE, max_num_seqs=2, max_model_len=2000, max_batch_tokens=None, limit=limit, free=0)
    with pytest.raises(InputError, match="more than the 2048 tokens"):
        plan(SHAPE, max_num_seqs=2, max_model_len=4096, max_batch_tokens=None, limit=None, free=2**40)


def test_a_gpu_keeps_to_the_models_context_too(monkeypatch):
    from types import SimpleNamespace

    from lazyllm_deploy_transformers.arguments import Settings
    from lazyllm_deploy_transformers.batching import measure

    monkeypatch.setattr(measure, "shape_of", lambda model: SHAPE)
    model = SimpleNamespace(device=SimpleNamespace(type="cuda"))
    assert measure.plan_for(model, Settings("m", max_model_len=1024)).max_model_len == 1024
    assert measure.plan_for(model, Settings("m")).max_model_len == 2048
    with pytest.raises(InputError, match="more than the 2048 tokens"):
        measure.plan_for(model, Settings("m", max_model_len=4096))


@pytest.mark.engine
def test_the_table_is_what_the_installed_library_says():
    from transformers import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    missing = set()
    for name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        if name in CONFIG_MAPPING and not MODEL_FOR_CAUSAL_LM_MAPPING[CONFIG_MAPPING[name]]._supports_attention_backend:
            missing.add(name)
    assert missing <= NOT_BATCHED
