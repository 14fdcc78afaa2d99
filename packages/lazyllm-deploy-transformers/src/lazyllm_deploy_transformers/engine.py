"""`deploy.transformers`: the command that serves a model with this package's server."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any, ClassVar

from lazyllm.components.deploy import LazyLLMDeployBase
from lazyllm.errors import ServiceError
from lazyllm.jobs.command import Arg, Command, Ref, Service, Step

from .arguments import DEFAULTS, LIMITS
from .checks import check_folder
from .options import check_options

# keywords that are options of the server
_PASSED = ("dtype", "device", "model_name", *LIMITS, "kv_cache_memory", "shutdown_timeout", "log_level")
# seconds beyond shutdown_timeout: up to 4 s in which the server tells clients and closes connections, and the exit
_ENDING = 10.0


class TransformersDeploy(LazyLLMDeployBase):
    """An OpenAI-compatible server on the transformers library, for any machine, CPU included.

    `infer = TransformersDeploy(); url = infer(finetuned_model, base_model)`; the URL ends in /v1. The API key is the
    configuration's `api_key`, if it is set.

    Keywords:
        port, host: None for a free port and for the launcher's address; on any but a loopback's address the server gets
            an API key.
        model_name: the name that clients use, by default the folder's.
        dtype: auto (the checkpoint's, float32 where the CPU has no arithmetic for it), float32, bfloat16, float16.
        device: auto, cpu, cuda or cuda:N.
        max_num_seqs: sequences that are computed at once; others wait.
        max_model_len: tokens of prompt and answer together, by default the model's context.
        max_batch_tokens: tokens that are computed in one step.
        kv_cache_memory: limit of the KV cache, bytes or text such as "2GiB".
        threads: CPU threads, by default OMP_NUM_THREADS where the server runs, else the physical cores there less one.
        shutdown_timeout: seconds that running answers get when the server is stopped.
        log_level: debug (every request), info, warning or error; by default info.
        start_timeout: seconds after which a server that does not answer is given up.
    """

    defaults: ClassVar[Mapping[str, Any]] = {
        "port": None,
        "host": None,
        **{name: DEFAULTS[name] for name in _PASSED},
        "start_timeout": 600.0,
    }
    types: ClassVar[Mapping[str, type]] = {**LazyLLMDeployBase.types, "model_name": str, "log_level": str}
    auto_map: ClassVar[Mapping[str, str]] = {"max_token_num": "max_model_len"}
    message_format: ClassVar[Mapping[str, Any] | None] = None
    keys_name_handle: ClassVar[Mapping[str, str] | None] = {"inputs": "prompt", "stop": "stop"}

    @staticmethod
    def extract_result(text: str | bytes, inputs: Any = None) -> str:
        """Return the text of an answer's body, or of one event of a stream (`data: …`, empty for the last)."""
        found = (text.decode() if isinstance(text, bytes) else text).strip().removeprefix("data:").strip()
        if not found or found == "[DONE]":
            return ""
        try:
            body = json.loads(found)
            if "error" in body:
                raise ServiceError(str(body["error"].get("message", body["error"])))
            choice = body["choices"][0] if body["choices"] else {}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ServiceError(f"This is no answer of the OpenAI protocol: {found[:200]}") from None
        said = choice.get("message") or choice.get("delta") or {"content": choice.get("text")}
        return str(said.get("content") or "")

    @staticmethod
    def stream_parse_parameters() -> dict[str, Any]:
        """Return how a stream is split: server-sent events end with an empty line."""
        return {"delimiter": b"\n\n"}

    @staticmethod
    def stream_url_suffix() -> str:
        """Return nothing: streams have the same URL."""
        return ""

    def cmd(
        self, finetuned_model: str | os.PathLike[str] | None = None, base_model: str | os.PathLike[str] | None = None
    ) -> Command:
        """Return the command that serves the model.

        Raises:
            InputError: a keyword's value cannot be used.
            ModelError: the folder is incomplete, or holds a model that the library does not batch.
        """
        check_options(self.kw)
        model = self.find_model(finetuned_model, base_model)
        kw = self.kw
        info = check_folder(model, trust_remote_code=self.trust_remote_code, max_model_len=kw["max_model_len"])
        argv: list[Arg] = [sys.executable, "-m", "lazyllm_deploy_transformers.server", "--model", model]
        argv += ["--host", Ref("host"), "--port", Ref("port", "port")]
        for name in _PASSED:
            if kw[name] is not None:
                argv.append(f"--{name.replace('_', '-')}={kw[name]}")  # a value may begin with a dash
        if self.trust_remote_code:
            argv.append("--trust-remote-code")
        return Command(
            (Step(tuple(argv), "serve"),),
            ports={"port": kw["port"]},
            host=kw["host"],
            service=Service("port", "/v1", "openai", "/health", float(kw["start_timeout"])),
            grace=float(kw["shutdown_timeout"]) + _ENDING,
            title=f"serve {info.name}",
        )
