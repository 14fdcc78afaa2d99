"""Texts that are long: they hold up no other one, and are refused unread where they cannot fit."""

import asyncio
import random
import threading

import pytest

from lazyllm_deploy_transformers.bounds import byte_characters, core_of, most_characters
from lazyllm_deploy_transformers.protocol.errors import ApiError
from lazyllm_deploy_transformers.text import Text

MERGED = ["Ġ" * n for n in range(2, 17)]
BYTE_LEVEL = [*byte_characters().values(), *MERGED]
FALLBACK = [*(f"<0x{byte:02X}>" for byte in range(256)), *("▁" * n for n in range(1, 9)), "a", "b"]


def core(vocabulary, merges=(), *, normalizer=None, splitter=None, model="BPE", added=(), **options):
    from tokenizers import Tokenizer, models

    ids = {token: i for i, token in enumerate(vocabulary)}
    given = (ids, list(merges)) if model == "BPE" else (ids,)
    made = Tokenizer(getattr(models, model)(*given, **options))
    if normalizer:
        made.normalizer = normalizer
    if splitter:
        made.pre_tokenizer = splitter
    made.add_special_tokens(list(added))
    return made


def splitting(**changes):
    from tokenizers import Regex, pre_tokenizers

    split = pre_tokenizers.Split(Regex(r"\s+|\S+"), **{"behavior": "isolated", **changes})
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def byte_level(**changes):
    merges = [("Ġ" * n,) * 2 for n in (1, 2, 4, 8)]
    return core(BYTE_LEVEL, merges, **{"splitter": splitting(), **changes})


def fallback(**changes):
    from tokenizers import normalizers

    written = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    merges = [("▁" * n,) * 2 for n in (1, 2, 4)]
    return core(FALLBACK, merges, **{"normalizer": written, "byte_fallback": True, **changes})


def composing(form="NFC"):
    from tokenizers import normalizers

    return getattr(normalizers, form)()


@pytest.mark.parametrize("make, longest", [(byte_level, 16), (fallback, 8), (lambda: byte_level(added=["x" * 40]), 40)])
def test_no_token_stands_for_more_text_than_is_told(make, longest):
    made = make()
    most = most_characters(made)
    assert longest <= most <= 40
    dice = random.Random(7)
    texts = [" " * 999, "x" * 800, *("".join(dice.choices("ab  \n\u4f60\U0001f30d\u0301", k=300)) for _ in range(50))]
    for text in texts:
        assert len(text) <= most * len(made.encode(text).ids)


def test_characters_that_are_composed_count_as_they_were_sent():
    made = byte_level(normalizer=composing())
    text = "\u03a9\u0314\u0342\u0345" * 100  # four characters that become one
    assert len(made.normalizer.normalize_str(text)) == 100
    assert most_characters(made) == 4 * 16 and len(text) <= most_characters(made) * len(made.encode(text).ids)


def swallowing():
    from tokenizers import AddedToken, Regex, normalizers, pre_tokenizers

    return {
        "characters that the normalizer drops": byte_level(normalizer=normalizers.Strip()),
        "runs that the normalizer shortens": byte_level(normalizer=normalizers.Replace(Regex(" +"), " ")),
        "words that the normalizer shortens": byte_level(normalizer=normalizers.Replace("long", "x")),
        "compatibility forms": byte_level(normalizer=composing("NFKC")),
        "what the splitting removes": byte_level(splitter=splitting(behavior="removed")),
        "white space between words": fallback(splitter=pre_tokenizers.Whitespace()),
        "white space beside a special token": byte_level(added=[AddedToken("<x>", rstrip=True)]),
        "a byte without a token": core(BYTE_LEVEL[1:256], splitter=splitting()),
        "characters without a token": core(FALLBACK),
        "words without a token": core(["[UNK]"], model="WordLevel", unk_token="[UNK]"),
    }


def test_no_bound_is_told_where_text_may_vanish():
    for what, made in swallowing().items():
        assert most_characters(made) is None, what


def text_of(made, context=None):
    from transformers import PreTrainedTokenizerFast

    template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    return Text(PreTrainedTokenizerFast(tokenizer_object=made, chat_template=template), context)


def test_a_text_that_cannot_fit_is_refused_unread():
    text = text_of(byte_level(), context=100)
    assert len(asyncio.run(text.encode(" " * 1600))) == 100
    text._tokenizer._tokenizer = None  # nothing can be encoded any more
    asked = [{"role": "user", "content": " " * 1601}]
    for work in (text.encode(" " * 1601), text.encode_chat(asked, {})):
        with pytest.raises(ApiError, match="context is 100 tokens, at most 1600 characters, .* has 1601") as e:
            asyncio.run(work)
        assert (e.value.status, e.value.code) == (400, "context_length_exceeded")


def test_a_long_text_holds_up_no_short_one():
    text = text_of(byte_level())
    encode, answered = text._tokenizer, threading.Event()

    def slow(said, **options):
        assert len(said) < 100_000 or answered.wait(10)
        return encode(said, **options)

    text._tokenizer = slow

    async def both():
        long = asyncio.ensure_future(text.encode("x" * 100_000))
        await asyncio.sleep(0.05)
        assert await text.encode("x y") == encode("x y")["input_ids"]
        answered.set()
        return await long

    assert len(asyncio.run(both())) == 100_000


def test_a_class_of_the_models_own_shares_no_threads_and_has_no_bound():
    from transformers import PreTrainedTokenizerFast

    class Own(PreTrainedTokenizerFast):
        def _encode_plus(self, text, **options):
            return super()._encode_plus(text.strip(), **options)

    own = Own(tokenizer_object=byte_level())
    assert core_of(own, "_encode_plus", "__call__") is None and core_of(own, "_decode", "decode") is not None
    text = Text(own, context=10)
    assert text._long is text._thread and len(asyncio.run(text.encode("x" + " " * 1000))) == 1
