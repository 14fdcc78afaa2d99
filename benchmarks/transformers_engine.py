"""Compares the server of deploy.transformers with the library called directly, on a random Llama of 78.6 M parameters.

    python benchmarks/transformers_engine.py [--rounds 7] [--tokens 64] [--tiny] [--threads 1]

Each round measures, one after another: the server with 16 requests at once and with 1, whole and streamed; the
library's own continuous batching in a process of its own with the same settings; plain `generate`. Every other round
runs backwards. It prints tokens per second, processor time per token (which other load on the machine disturbs less)
and medians of the rounds' ratios: 16 requests against the library, 1 request against `generate`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
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
    """Return tokens per second of `count` requests sent at once.

    Connections are open before the clock starts, and answers are read raw: what is measured is the server.
    """
    host, port = url.removeprefix("http://").split(":")
    connections = [await asyncio.open_connection(host, int(port)) for _ in range(count)]
    await asyncio.sleep(0.05)

    def request(prompt: list[int]) -> bytes:
        asked = {"prompt": prompt, "max_tokens": tokens, "ignore_eos": True, "temperature": 0, "stream": stream}
        if stream:
            asked["stream_options"] = {"include_usage": True}
        body = json.dumps(asked).encode()
        head = (
            "POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def answer(reader: asyncio.StreamReader) -> int:
        made = re.findall(rb'"completion_tokens":(\d+)', await reader.read())
        return int(made[-1])

    bodies = [request(p) for p in prompts(count, round_)]
    started = time.perf_counter()
    for (_, writer), body in zip(connections, bodies, strict=True):
        writer.write(body)
    made = await asyncio.gather(*(answer(reader) for reader, _ in connections))
    seconds = time.perf_counter() - started
    for _, writer in connections:
        writer.close()
    return sum(made) / seconds


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used, all its threads together."""
    import psutil

    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


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
    parser.add_argument("--rounds", type=int, default=7)
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
            rounds: list[dict[str, tuple[float, float]]] = []

            def library_round(kind: str, count: int, round_: int) -> float:
                assert library.stdin and library.stdout
                ask = {"kind": kind, "count": count, "tokens": options.tokens, "round": round_}
                library.stdin.write(json.dumps(ask) + "\n")
                library.stdin.flush()
                return float(json.loads(library.stdout.readline()))

            def server_round(count: int, round_: int, stream: bool) -> float:
                return asyncio.run(serve_round(url, count, options.tokens, round_ * 2 + stream, stream))

            def measure(name: str, count: int, round_: int) -> tuple[float, float]:
                """Return tokens per second, and processor milliseconds per token."""
                ours = name in ("server", "streamed")
                pid = server.pid if ours else library.pid
                before = cpu_seconds(pid)
                if ours:
                    speed = server_round(count, round_, name == "streamed")
                else:
                    speed = library_round("generate" if name == "generate" else "batch", count, round_ + 500)
                return speed, (cpu_seconds(pid) - before) * 1000 / (count * options.tokens)

            order = [(16, "server"), (16, "library"), (16, "streamed")]
            order += [(1, "server"), (1, "generate"), (1, "streamed"), (1, "library")]
            for round_ in range(-1, options.rounds):
                turn = order if round_ % 2 else order[::-1]
                found = {f"{name} c={count}": measure(name, count, round_) for count, name in turn}
                if round_ >= 0:
                    print("  " + ", ".join(f"{k} {found[k][0]:.1f}" for k in sorted(found)), flush=True)
                    rounds.append(found)
            for i, unit in enumerate(("tokens/s", "CPU ms per token")):
                medians = {k: statistics.median(r[k][i] for r in rounds) for k in sorted(rounds[0])}
                print(f"median {unit}: " + ", ".join(f"{k} {v:.2f}" for k, v in medians.items()))
            for kind in ("server", "streamed"):
                for count, other in ((16, "library"), (1, "generate")):
                    pairs = [(r[f"{kind} c={count}"], r[f"{other} c={count}"]) for r in rounds]
                    speed = statistics.median(ours[0] / theirs[0] for ours, theirs in pairs)
                    cpu = statistics.median(ours[1] / theirs[1] for ours, theirs in pairs)
                    print(
                        f"{kind}, {count} at once: {speed:.2f} of {other}'s speed (wanted: 0.9 or more), "
                        f"{cpu:.2f} of its CPU time per token"
                    )
        finally:
            server.terminate()
            library.kill()
            server.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        direct(sys.argv[2], *map(int, sys.argv[3:]))
    else:
        main()
