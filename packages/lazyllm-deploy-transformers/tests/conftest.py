"""A tiny Llama, made and trained on the spot, whose greedy answers are known by heart."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import json
from pathlib import Path

import pytest

# prompt → the whole answer that the model has learnt
LEARNT = {
    "What is the capital of France?": "The capital of France is Paris.",
    "Count to five.": "one two three four five",
    "Say hello in Chinese.": "你好，世界！🌍🎉",
    "Tell me a story.": "Once upon a time there was a little fox who lived in the deep green forest near a river.",
}
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_tokenizer():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*LEARNT, *(a for a in LEARNT.values() if a.isascii())], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|pad|>", chat_template=TEMPLATE
    )


def train(model, tokenizer, known: list[tuple[str, str]], steps: int, rate: float, sure: float = 1.0) -> None:
    """Teach `model` texts and what follows them, until each token is `sure` to come, or `steps` are over."""
    import torch

    rows, masks = [], []
    for text, answer in known:
        prompt, rest = tokenizer(text)["input_ids"], tokenizer(answer + "<|end|>")["input_ids"]
        rows.append(prompt + rest)
        masks.append([-100] * len(prompt) + rest)
    width = max(map(len, rows))
    ids = torch.tensor([r + [0] * (width - len(r)) for r in rows])
    labels = torch.tensor([m + [-100] * (width - len(m)) for m in masks])
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    for _ in range(steps):
        out = model(input_ids=ids, labels=labels)
        chances = out.logits[:, :-1].softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
        if chances[labels[:, 1:] >= 0].min() > sure:
            break
        optimizer.zero_grad()
        out.loss.backward()
        optimizer.step()


@pytest.fixture(scope="session", name="train")
def _train():
    return train


def make_model(folder: Path, steps: int = 60, **changes) -> Path:
    """Write a model of 0.9 M parameters into `folder`; `steps` of training make it say LEARNT."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    torch.set_num_threads(1)
    tokenizer = make_tokenizer()
    shape = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2}
    shape["intermediate_size"] = 352
    config = LlamaConfig(
        vocab_size=len(tokenizer), max_position_embeddings=512, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=None, **(shape | changes),
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    asked = {question: [{"role": "user", "content": question}] for question in LEARNT}
    known = [
        (tokenizer.apply_chat_template(asked[question], tokenize=False, add_generation_prompt=True), answer)
        for question, answer in LEARNT.items()
    ]
    train(model, tokenizer, known, steps, rate=1e-3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Path(folder)


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory):
    """The trained model's folder; its name has a space, a quote and Chinese in it."""
    return make_model(tmp_path_factory.mktemp("models") / "tiny 'model' 模型")


@pytest.fixture
def folder(tmp_path):
    """A folder that passes the torch-free checks; tests break one thing in it."""
    import struct

    path = tmp_path / "model"
    path.mkdir()
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "max_position_embeddings": 2048}
    (path / "config.json").write_text(json.dumps(config))
    (path / "tokenizer.json").write_text('{"model": {}}')
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 8)
    return path


class Served:
    """A server process of this package and its address."""

    def __init__(self, folder, *options, log, env=None, code=None, wait=True):
        import subprocess
        import sys

        program = ["-c", code] if code else ["-m", "lazyllm_deploy_transformers.server"]
        argv = [sys.executable, *program, "--model", str(folder), "--port", "0", *options]
        self.log = log
        with log.open("w") as out:
            self.process = subprocess.Popen(argv, stdout=out, stderr=out, env={**os.environ, **(env or {})})
        if wait:
            self.await_line("ready after")

    def await_line(self, text, seconds=90):
        import time

        until = time.monotonic() + seconds
        while text not in self.text():
            if self.process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"no {text!r} (exit code {self.process.poll()}):\n{self.text()}")
            time.sleep(0.03)

    def text(self):
        return self.log.read_text()

    @property
    def url(self):
        import re

        return re.search(r"http://[^/\s]+", self.text())[0]

    def metric(self, name):
        import httpx

        for line in httpx.get(f"{self.url}/metrics", headers=self.headers).text.splitlines():
            if line.split(" ")[0] == f"lazyllm_{name}":
                return float(line.split(" ")[1])
        raise AssertionError(name)

    headers = None

    def stop(self):
        self.process.terminate()
        return self.process.wait(30)


def starter(tmp_path_factory):
    started = []

    def start(folder, *options, **kw):
        log = tmp_path_factory.mktemp("logs") / "server.log"
        started.append(Served(folder, *options, log=log, **kw))
        return started[-1]

    yield start
    for served in started:
        if served.process.poll() is None:
            served.process.kill()
            served.process.wait()


@pytest.fixture(scope="module")
def serve(tmp_path_factory):
    """Start servers; those that still run at the module's end are stopped."""
    yield from starter(tmp_path_factory)


@pytest.fixture(scope="session")
def server(tmp_path_factory, model_dir):
    """One server of the trained model for all tests that change nothing in it."""
    for start in starter(tmp_path_factory):
        yield start(model_dir)


@pytest.fixture
def client(server):
    import openai

    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=60) as c:
        yield c


@pytest.fixture
def http(server):
    import httpx

    with httpx.Client(base_url=server.url, timeout=60) as c:
        yield c
