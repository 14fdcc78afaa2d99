"""What a model's files tell without torch or transformers being imported."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from lazyllm.components import model_files
from lazyllm.components.model_files import (
    brings_code,
    causal_kinds,
    check_tokenizer,
    needs_code,
    positions,
    tensor_shapes,
    why_not_causal,
)
from lazyllm.errors import ModelError

SOURCE = """
MODEL_FOR_CAUSAL_LM_MAPPING_NAMES = OrderedDict(
    [
        ("llama", "LlamaForCausalLM"),
        ("bart", "BartForCausalLM"),
    ]
)
MODEL_FOR_MASKED_LM_MAPPING_NAMES = OrderedDict(
    [
        ("bert", "BertForMaskedLM"),
    ]
)
"""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is found as transformers."""
    file = tmp_path / "models" / "auto" / "modeling_auto.py"
    file.parent.mkdir(parents=True)
    file.write_text(SOURCE)

    class Spec:
        submodule_search_locations = (str(tmp_path),)

    monkeypatch.setattr(model_files, "find_spec", lambda name: Spec)
    return file


def test_the_kinds_are_read_from_the_librarys_source(library: Path) -> None:
    assert causal_kinds() == {"llama", "bart"}
    library.unlink()
    assert causal_kinds() == frozenset()


@pytest.mark.skipif(find_spec("transformers") is None, reason="no transformers here")
def test_the_installed_library_knows_llama_and_is_not_imported() -> None:
    code = (
        "import sys; from lazyllm.components.model_files import causal_kinds as kinds;"
        "assert {'llama', 'qwen3', 'gpt2'} <= kinds() and 't5' not in kinds(); assert 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "lama"}, "'lama' in config.json is no causal language model .* Did you mean 'llama'"),
        ({"model_type": ["llama"]}, "names no model_type"),
        ({}, "names no model_type"),
        ({"model_type": "bart", "is_encoder_decoder": True}, "'bart' is an encoder-decoder"),
        ({"model_type": "llama", "architectures": ["LlamaForSequenceClassification"]}, "classifies texts"),
        ({"model_type": "x", "architectures": ["XForMaskedLM"], "auto_map": {"AutoModelForCausalLM": "x.X"}}, "gaps"),
    ],
)
def test_what_generates_no_text_is_told(library: Path, config: dict[str, object], said: str) -> None:
    import re

    assert re.search(said, why_not_causal(config) or "")


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "llama", "architectures": ["LlamaForCausalLM"]},
        {"model_type": "llama", "architectures": 3},
        {"model_type": "own", "auto_map": {"AutoModelForCausalLM": "own.Model"}},
    ],
)
def test_what_may_generate_text_passes(library: Path, config: dict[str, object]) -> None:
    assert why_not_causal(config) is None


def test_without_the_library_no_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files, "find_spec", lambda name: None)
    assert why_not_causal({"model_type": "any"}) is None


def test_code_of_the_models_own() -> None:
    assert brings_code({"auto_map": {"AutoModelForCausalLM": "m.M"}})
    assert not any(map(brings_code, ({}, {"auto_map": {"AutoModel": "m.M"}}, {"auto_map": "AutoModelForCausalLM"})))


def test_code_of_the_models_own_is_not_needed_where_the_library_has_its_type(library: Path) -> None:
    own = {"auto_map": {"AutoModelForCausalLM": "m.M"}}
    assert not needs_code({"model_type": "llama", **own}) and not needs_code({"model_type": "own"})
    assert needs_code({"model_type": "own", **own}) and needs_code(own)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"max_position_embeddings": 512}, 512),
        ({"n_positions": 1024}, 1024),
        ({"max_position_embeddings": 1, "text_config": {"max_position_embeddings": 8}}, 8),
        ({}, None),
        ({"max_position_embeddings": "512"}, None),
        ({"max_position_embeddings": -1}, None),
    ],
)
def test_the_context_that_config_json_tells_of(config: dict[str, object], expected: int | None) -> None:
    assert positions(config) == expected


def test_a_file_that_cannot_be_opened_is_a_models_fault(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        tensor_shapes(tmp_path)


def test_a_broken_tokenizer_is_told(tmp_path: Path) -> None:
    check_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": {}}')
    check_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="tokenizer.json is no tokenizer"):
        check_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("[]")
    with pytest.raises(ModelError, match="tokenizer_config.json holds no JSON object"):
        check_tokenizer(tmp_path)
