"""How long a text may be that fits into a context, told without tokenizing it."""

from __future__ import annotations

import json
from typing import Any

# the most code points that one of NFC text stands for: the longest canonical decomposition (U+1FAF) in Unicode
_NFC = 4
_SPLITTING = frozenset({"ByteLevel", "Digits", "Metaspace", "Split"})


def core_of(tokenizer: Any, inner: str, outer: str) -> Any:
    """Return a fast tokenizer's core, None where there is none or a model's own class has its `inner` or `outer`."""
    kind = type(tokenizer)
    own = getattr(kind, inner, None), getattr(kind, outer, None)
    usual = [getattr(f, "__module__", "") for f in own] == [
        "transformers.tokenization_utils_tokenizers",
        "transformers.tokenization_utils_base",
    ]
    return getattr(tokenizer, "_tokenizer", None) if usual else None


def most_characters(core: Any) -> int | None:
    """Return the most characters of a text that one token stands for, None where no bound is known.

    It is known of byte pair encodings that leave nothing of a text out: every byte has a token, so that none is
    unknown, and neither the normalizer, the splitting nor a special token drops characters.
    """
    if type(core.model).__name__ != "BPE":
        return None
    try:
        factor = _shrinking(_steps(core.normalizer))
        splits = _steps(core.pre_tokenizer)
    except Exception:  # a step in Python, of the model's own, does not tell what it is
        return None
    if factor is None or any(s["type"] not in _SPLITTING or s.get("behavior") == "Removed" for s in splits):
        return None
    if any(token.lstrip or token.rstrip for token in core.get_added_tokens_decoder().values()):
        return None
    vocabulary = core.get_vocab()
    if not _complete(core.model, vocabulary, any(s["type"] == "ByteLevel" for s in splits)):
        return None
    return factor * max(map(len, vocabulary))  # a byte-level token has a character for each byte


def _steps(part: Any) -> list[dict[str, Any]]:
    """Return what a normalizer or a pre-tokenizer does, step by step."""

    def flat(state: dict[str, Any]) -> list[dict[str, Any]]:
        inner = state.get("normalizers", state.get("pretokenizers"))
        return [state] if inner is None else [step for each in inner for step in flat(each)]

    return [] if part is None else flat(json.loads(part.__getstate__()))


def _shrinking(steps: list[dict[str, Any]]) -> int | None:
    """Return how many times longer a text may be than what the steps make of it, None if there is no telling."""
    factor = 1
    for step in steps:
        if step["type"] == "NFC":
            factor *= _NFC
        elif step["type"] == "Replace":
            pattern = step["pattern"].get("String")
            if pattern is None or len(step["content"]) < len(pattern):
                return None
        elif step["type"] != "Prepend":
            return None
    return factor


def _complete(model: Any, vocabulary: dict[str, int], byte_level: bool) -> bool:
    """Return whether every byte has a token of its own."""
    if model.continuing_subword_prefix or model.end_of_word_suffix:
        return False
    if byte_level:
        return all(char in vocabulary for char in byte_characters().values())
    return bool(model.byte_fallback) and all(f"<0x{byte:02X}>" in vocabulary for byte in range(256))


def byte_characters() -> dict[int, str]:
    """Return the characters by which byte-level tokenizers write bytes: printable Latin-1 stands for itself."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {byte: chr(byte) for byte in plain}
    others = (byte for byte in range(256) if byte not in table)
    return table | {byte: chr(256 + i) for i, byte in enumerate(others)}
