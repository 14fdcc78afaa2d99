"""Compares the server of deploy.transformers with the library called directly, on a random Llama of 78.6 M parameters.

    python benchmarks/transformers_engine.py [--rounds 5] [--tokens 64] [--tiny] [--threads 1]

Each round measures, one after another: the server with 16 requests at once and with 1, whole and streamed; the
library's own continuous batching in a process of its own with the same settings; plain `generate`. It prints tokens
per second and, as medians of the rounds' ratios, so that a machine's other load counts less: 16 requests against the
library, 1 request against `generate`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHAPES = {
    "small": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 2048},
    "tiny": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 8, "intermediate_size": 512},
}
VOCABULARY = 2000
PROMPT = 32


def make_model(folder: Path, shape: str) -> int:
    """Write a random Llama and a byte-level tokenizer; return the number of parameters."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, num_key_value_heads=4, max_position_embeddings=1024, tie_word_embeddings=False,
        eos_token_id=None, bos_token_id=None, **SHAPES[shape],
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = letters + [f"{a}{b}" for a in letters for b in letters][: VOCABULARY - len(letters)]
    tokenizer = Tokenizer(models.BPE({w: i for i, w in enumerate(words)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    return sum(p.numel() for p in model.parameters())


def prompts(count: int, round_: int) -> list[list[int]]:
    """Return prompts that share no prefix, so that nobody profits from a cache of prefixes."""
    return [[(round_ * 977 + i * 131 + j * 17 + 1) % 1900 for j in range(PROMPT)] for i in range(count)]


def direct(folder: str, threads: int, blocks: int, batch: int, seqs: int) -> None:
    """Child: answer lines `{"kind", "count", "tokens", "round"}` with tokens per second, forever."""
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, GenerationConfig

    from lazyllm_deploy_transformers.batching.sizing import PAGE

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    base = GenerationConfig(do_sample=False, eos_token_id=-1, max_new_tokens=16)
    manager = model.init_continuous_batching(
        generation_config=base,
        continuous_batching_config=ContinuousBatchingConfig(
            page_size=PAGE,
            num_blocks=blocks,
            max_batch_tokens=batch,
            max_requests_per_batch=seqs,
            max_memory_percent=0.95,
        ),
    )
    manager.start()
    print("up", flush=True)
    for line in sys.stdin:
        ask = json.loads(line)
        asked = prompts(ask["count"], ask["round"])
        started = time.perf_counter()
        if ask["kind"] == "generate":
            with torch.no_grad():
                ids = torch.tensor(asked)
                mask = torch.ones_like(ids)
                new = {"max_new_tokens": ask["tokens"], "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
                made = plain.generate(ids, attention_mask=mask, **new).numel() - ids.numel()
        else:
            names = {f"{ask['round']}-{time.time_ns()}-{i}" for i in range(len(asked))}
            for name, prompt in zip(names, asked, strict=True):
                manager.add_request(prompt, name, ask["tokens"])
            made = 0
            while names:
                result = manager.get_result(timeout=1)
                if result is not None and result.is_finished():
                    names.discard(result.request_id)
                    made += len(result.generated_tokens)
        print(json.dumps(made / (time.perf_counter() - started)), flush=True)


async def serve_round(url: str, count: int, tokens: int, round_: int, stream: bool) -> float:
    """Return tokens per second of `count` requests sent at once."""
    import httpx

    async def one(client: httpx.AsyncClient, prompt: list[int]) -> int:
        body = {"prompt": prompt, "max_tokens": tokens, "ignore_eos": True, "temperature": 0, "stream": stream}
        if not stream:
            answer = await client.post("/v1/completions", json=body)
            return int(answer.json()["usage"]["completion_tokens"])
        body["stream_options"] = {"include_usage": True}
        last = ""
        async with client.stream("POST", "/v1/completions", json=body) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: {"):
                    last = line
        return int(json.loads(last[6:])["usage"]["completion_tokens"])

    async with httpx.AsyncClient(base_url=url, timeout=600) as client:
        started = time.perf_counter()
        made = await asyncio.gather(*(one(client, p) for p in prompts(count, round_)))
        return sum(made) / (time.perf_counter() - started)


def wait_ready(process: subprocess.Popen[str]) -> str:
    """Return the server's URL once it is ready."""
    assert process.stderr is not None
    for line in process.stderr:
        print("  " + line.rstrip())
        if "ready after" in line:
            return line.split(" on ")[-1].strip().removesuffix("/v1")
    raise SystemExit("the server did not start")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tiny", action="store_true", help="3 M parameters: reported only, Python's share dominates")
    options = parser.parse_args()
    env = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "HF_HUB_OFFLINE": "1"}
    seqs, length, batch = 16, 512, 512
    with tempfile.TemporaryDirectory() as folder:
        size = make_model(Path(folder), "tiny" if options.tiny else "small")
        print(f"{size / 1e6:.1f} M parameters, {options.tokens} new tokens, {options.threads} threads")
        argv = [sys.executable, "-m", "lazyllm_deploy_transformers.server", "--model", folder, "--port", "0"]
        argv += ["--dtype", "float32", "--device", "cpu", "--max-num-seqs", str(seqs), "--max-model-len", str(length)]
        blocks = seqs * (length // 64 + 1)
        server = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=env)
        library = subprocess.Popen(
            [sys.executable, __file__, "--child", folder, *map(str, (options.threads, blocks, batch, seqs))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env,
        )  # fmt: skip
        try:
            url = wait_ready(server)
            assert library.stdin and library.stdout and library.stdout.readline() == "up\n"
            rounds: list[dict[str, float]] = []

            def library_round(kind: str, count: int, round_: int) -> float:
                assert library.stdin and library.stdout
                ask = {"kind": kind, "count": count, "tokens": options.tokens, "round": round_}
                library.stdin.write(json.dumps(ask) + "\n")
                library.stdin.flush()
                return float(json.loads(library.stdout.readline()))

            def server_round(count: int, round_: int, stream: bool) -> float:
                return asyncio.run(serve_round(url, count, options.tokens, round_ * 2 + stream, stream))

            for round_ in range(-1, options.rounds):
                found = {}
                for count, other in ((16, "library"), (1, "generate"), (1, "library")):
                    if (count, other) != (1, "library"):
                        found[f"server c={count}"] = server_round(count, round_, False)
                    found[f"{other} c={count}"] = library_round(
                        "generate" if other == "generate" else "batch", count, round_ + 500
                    )
                    if (count, other) != (1, "library"):
                        found[f"streamed c={count}"] = server_round(count, round_, True)
                if round_ >= 0:
                    print("  " + ", ".join(f"{k} {v:.1f}" for k, v in found.items()), flush=True)
                    rounds.append(found)
            print("median tokens/s: " + ", ".join(f"{k} {statistics.median(r[k] for r in rounds):.1f}" for k in found))
            for kind in ("server", "streamed"):
                for count, other, least in ((16, "library", 0.9), (1, "generate", 0.9)):
                    ratio = statistics.median(r[f"{kind} c={count}"] / r[f"{other} c={count}"] for r in rounds)
                    print(f"{kind}, {count} at once: {ratio:.2f} of {other} (wanted: {least} or more)")
        finally:
            server.terminate()
            library.kill()
            server.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        direct(sys.argv[2], *map(int, sys.argv[3:]))
    else:
        main()
