from hypothesis import given, settings
from hypothesis import strategies as st

from lazyllm_deploy_transformers.stops import StopMatcher

ALPHABET = "ab好\n"


def run(stops, pieces):
    matcher = StopMatcher(stops)
    out = "".join(matcher.push(p) for p in pieces)
    return out + (matcher.flush() if matcher.stopped is None else ""), matcher.stopped


def test_a_stop_string_across_pieces_is_cut_off():
    assert run(["<|end|>"], ["Hello <", "|e", "nd|", "> and more"]) == ("Hello ", "<|end|>")


def test_what_only_began_a_stop_string_comes_out():
    assert run(["<|end|>"], ["a <", "|e", "lse"]) == ("a <|else", None)
    assert run(["END"], ["the E", "N"]) == ("the EN", None)


def test_text_is_passed_on_as_soon_as_it_cannot_begin_a_stop_string():
    matcher = StopMatcher(["\n\nQ:"])
    assert matcher.push("one\n") == "one"
    assert matcher.push("two") == "\ntwo"


def test_the_stop_string_that_ends_first_wins_wherever_the_pieces_are_cut():
    assert run(["bcd", "c"], ["abcd"]) == run(["bcd", "c"], list("abcd")) == ("ab", "c")
    assert run(["cd", "bcd"], ["abcd"]) == ("a", "bcd")


def test_no_stop_strings_hold_nothing_back():
    matcher = StopMatcher([])
    assert [matcher.push(c) for c in "abc"] == ["a", "b", "c"]


def test_after_a_match_nothing_more_comes_out():
    matcher = StopMatcher(["x"])
    assert (matcher.push("axb"), matcher.push("c"), matcher.flush()) == ("a", "", "")


def test_long_stop_strings_take_no_more_memory_than_their_text():
    import tracemalloc

    tracemalloc.start()
    matcher = StopMatcher(["a" * 999 + "b", "a" * 1000])
    assert "".join(matcher.push("a") for _ in range(999)) == ""
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (matcher.push("b"), matcher.stopped) == ("", "a" * 999 + "b") and peak < 100_000


@settings(deadline=None)  # a busy machine
@given(
    st.lists(st.text(ALPHABET, min_size=1, max_size=4), max_size=4),
    st.lists(st.text(ALPHABET, max_size=5), max_size=12),
)
def test_the_result_does_not_depend_on_the_pieces(stops, pieces):
    whole = "".join(pieces)
    expected = run(stops, [whole])
    assert run(stops, pieces) == expected
    assert run(stops, list(whole)) == expected
    text, stopped = expected
    assert not any(s in text for s in stops)
    assert whole.startswith(text + (stopped or ""))
