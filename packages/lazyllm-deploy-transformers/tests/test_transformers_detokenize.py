from hypothesis import given, settings
from hypothesis import strategies as st

from lazyllm_deploy_transformers.detokenize import Detokenizer


def by_bytes(ids):
    """A tokenizer of 256 tokens, one a byte, as byte-level vocabularies fall back to."""
    return bytes(ids).decode("utf-8", "replace")


def run(data, decode=by_bytes, prompt=()):
    detokenizer = Detokenizer(decode, prompt)
    return [detokenizer.push(b) for b in data], detokenizer.flush()


def test_characters_of_several_tokens_come_out_whole():
    pieces, rest = run("é好🌍".encode())
    assert pieces == ["", "é", "", "", "好", "", "", "", "🌍"]
    assert rest == ""


def test_a_character_cut_off_at_the_end_is_dropped():
    pieces, rest = run("ok 好".encode()[:-1])
    assert "".join(pieces) == "ok " and rest == ""


@settings(deadline=None)  # a busy machine
@given(st.text(max_size=30))
def test_any_text_comes_out_as_it_is(text):
    pieces, rest = run(text.encode())
    assert "".join(pieces) + rest == text


@settings(deadline=None)  # a busy machine
@given(st.binary(max_size=60))
def test_bytes_that_are_no_text_neither_stall_nor_fail(data):
    pieces, rest = run(data + b" end of it")
    assert ("".join(pieces) + rest).endswith(" end of it")


def words(ids):
    """A tokenizer that writes a space between tokens but not before the first, as sentence pieces do."""
    return " ".join(f"w{i}" for i in ids)


def test_spaces_between_tokens_depend_on_the_ones_before():
    pieces, rest = run([1, 2, 3], words)
    assert "".join(pieces) + rest == "w1 w2 w3"
    pieces, rest = run([1, 2], words, prompt=[7, 8])
    assert "".join(pieces) + rest == " w1 w2"


def test_each_step_decodes_a_short_window():
    longest = 0

    def decode(ids):
        nonlocal longest
        longest = max(longest, len(ids))
        return by_bytes(ids)

    run(b"x" * 500 + b"\x80" * 500, decode)
    assert longest <= 17


@settings(deadline=None)  # a busy machine
@given(st.text(max_size=30), st.integers(0, 3))
def test_tokens_decoded_together_give_what_they_give_one_by_one(text, cut):
    data = list(text.encode())
    data = data[: len(data) - cut]
    one, together = Detokenizer(by_bytes), Detokenizer(by_bytes)
    said = "".join(map(one.push, data)) + one.flush()
    assert together.extend(data[:7]) + together.extend(data[7:]) + together.flush() == said


def test_together_spaces_depend_on_the_prompt_too():
    detokenizer = Detokenizer(words, [7, 8])
    assert detokenizer.extend([1, 2]) + detokenizer.extend([3]) == " w1 w2 w3"
